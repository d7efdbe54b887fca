"""What is seen of a recovery: who moved, whoever did not, and what was due later only."""

import sqlalchemy as sa
from sqlmodel import Session, col

from tests import factories
from tests.chaos.recovery import struck
from tests.waiting import eventually
from worker.database import Database
from worker.models import Job


def change(session: Session, job_id: str, **values: object) -> None:
    session.execute(sa.update(Job).where(col(Job.id) == job_id).values(**values))


def test_a_job_has_moved_when_it_was_polled_or_became_another_and_not_when_it_was_only_claimed(
    database: Database,
) -> None:
    with database.write() as session:
        project_id = factories.project(session).id
        polled, ended, claimed = (f"job_{name}" for name in ("polled", "ended", "claimed"))
        session.add_all(
            factories.job(project_id, id=name, status="in_progress", interaction_id=name)
            for name in (polled, ended, claimed)
        )
        session.add(factories.job(project_id, id="job_done", status="completed"))
        session.flush()
        recovery = struck(session, "a fault")

        assert set(recovery.stood) == {polled, ended, claimed}
        assert not recovery.look(session)
        change(session, polled, polls=1)
        change(session, ended, status="completed")
        change(session, claimed, claim="somebody")

        assert not recovery.look(session)
        assert set(recovery.moved_at) == {polled, ended}
        assert recovery.late_s(claimed) == float("inf")
        change(session, claimed, polls=1, claim=None)
        assert eventually(lambda: recovery.look(session))
    assert 0 <= recovery.late_s(polled) <= recovery.late_s(claimed)
