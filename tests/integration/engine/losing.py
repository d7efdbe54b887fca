"""Workers that die around a create, and what becomes of its answer."""

from tests.integration.engine.engine import Engine
from worker.flow import attempt, claim
from worker.flow.attempt import Attempt
from worker.gemini.client import Created
from worker.models import Interaction


def claimed(engine: Engine, *, is_sent: bool, **fields: object) -> tuple[str, str]:
    """A job whose worker died after its claim; gives back its token."""
    job_id = engine.submit(**fields)
    (taken,) = claim.claim(engine.context, [job_id])
    if is_sent:
        assert claim.mark_sent(engine.context, [taken])
    return job_id, taken.token


def attach(engine: Engine, job_id: str, token: str, created: Created) -> str:
    """The id of a create comes in; gives back what it is to its job."""
    return attempt.attach(engine.context, [Attempt(job_id, token, created)])[job_id]


def paid(engine: Engine) -> Created:
    """An interaction that was made upstream."""
    other = engine.started()
    upstream_id = engine.job(other).interaction_id or ""
    with engine.context.database.write() as session:
        session.delete(session.get_one(Interaction, engine.interactions(other)[0].token))
    return Created(upstream_id, "in_progress")
