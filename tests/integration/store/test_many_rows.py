"""Rows that are written together are read back as if each had been written by itself."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from tests import factories
from tests.factories import NOW
from tests.integration.store.conftest import Store
from worker.database import Database
from worker.models import AuditEntry, Job, JobInput
from worker.settings import Settings
from worker.store import jobs, rows, submissions
from worker.vault import Vault

ODD = 'Ünï "quotes" \\ $1 %s {} \u2028 🦉 \x7f'
BODY = bytes(range(256)) * 40


def entry(store: Store, number: int, **values: object) -> dict[str, object]:
    told = {"action": "job.submit", "actor": "key", "address": None, "request_id": None, "subject": None}
    return {"id": f"aud_{number}", "project_id": store.project_id, "at": NOW, "number": 1, **told, **values}


def shown(job: Job) -> dict[str, Any]:
    return {name: getattr(job, name) for name in Job.model_fields}


def test_jobs_are_read_as_they_were_written(store: Store) -> None:
    plain = shown(factories.job(store.project_id, user_metadata={"owl": ODD}, labels={"a": "1"}, timeout_seconds=0.1))
    hooked = shown(factories.job(store.project_id, webhook_events=["job.failed"], webhook_config={"n": [1, 1.5, None]}))
    waiting = shown(factories.job(store.project_id, due_at=NOW.astimezone(ZoneInfo("Asia/Tokyo")), notes=["n"]))
    given = [plain, hooked, waiting]

    store.write(submissions.insert, [(submissions.new(**told), BODY) for told in given], NOW)

    found = store.read(jobs.several, [str(told["id"]) for told in given])
    assert [shown(found[str(told["id"])]) for told in given] == given


def test_what_is_sealed_is_so_in_a_crowd_too(store: Store) -> None:
    names = store.add_all([{}, {}])
    url = Settings(database_url=store.url, _env_file=None).database
    sealed = Database(url, sealer=Vault(SecretStr("the key of this year")))

    with sealed.write() as session:
        rows.insert(session, JobInput, [{"job_id": name, "turn": 1, "body": BODY} for name in names])

    with sealed.read() as session:
        found = jobs.bodies(session, [(name, 1) for name in names])
    lie = store.read(lambda session: list(session.scalars(sa.text("SELECT body FROM job_input"))))
    sealed.close()
    assert found == dict.fromkeys(names, BODY)
    assert all(BODY not in bytes(body) for body in lie)


def test_more_than_one_document_s_worth_is_written_whole(store: Store) -> None:
    most = BODY * (rows.LARGE_BYTES // len(BODY))
    # In hexadecimal digits each is twice as long; one is too large for a document.
    bodies = dict.fromkeys(store.add_all([{}] * (rows.DOCUMENT_BYTES // len(most) // 2 + 1)), most)
    bodies |= dict.fromkeys(store.add_all([{}]), 2 * most)

    store.write(rows.insert, JobInput, [{"job_id": name, "turn": 1, "body": body} for name, body in bodies.items()])

    assert store.read(jobs.bodies, [(name, 1) for name in bodies]) == bodies


def test_a_row_with_a_naive_time_is_refused(store: Store) -> None:
    with pytest.raises((ValueError, sa.exc.StatementError), match="naive"):
        store.write(rows.insert, AuditEntry, [entry(store, 1), entry(store, 2, at=datetime(2026, 1, 1))])  # noqa: DTZ001

    assert not store.read(lambda session: list(session.scalars(sa.select(AuditEntry))))
