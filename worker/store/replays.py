"""Reading the outcome that an idempotency key holds; taking one is `submissions.reserve`."""

from sqlmodel import Session

from worker.models import Idempotency


def held(session: Session, project_id: str, path: str, key: str) -> Idempotency | None:
    """What was submitted under this key; None where it was never used, or long ago."""
    return session.get(Idempotency, (project_id, path, key))
