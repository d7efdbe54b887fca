"""What lies sealed in the database: the check value of the encryption key, and all of it, to be sealed anew."""

from collections.abc import Callable

import sqlalchemy as sa
from sqlmodel import Session, SQLModel, col

from worker.models import JobInput, Project, Result, Sealing, WebhookEndpoint

SECRETS: dict[type[SQLModel], tuple[str, ...]] = {
    Sealing: ("sealed",),
    Project: ("webhook_secret", "old_webhook_secret"),
    WebhookEndpoint: ("secret", "old_secret", "headers"),
}
"""Columns of a few small rows."""

Document = type[JobInput] | type[Result]
DOCUMENTS: dict[Document, str] = {JobInput: "body", Result: "raw"}
"""A column each of many large rows, of a type of its own, which seals whatever is written."""


def get(session: Session, name: str) -> bytes | None:
    """The stored check value of the encryption key."""
    found = session.get(Sealing, name)
    return found.sealed if found else None


def add(session: Session, name: str, sealed: bytes) -> None:
    """Store the check value of the encryption key."""
    session.add(Sealing(name=name, sealed=sealed))
    session.flush()


def secrets(session: Session, reseal: Callable[[bytes], bytes]) -> int:
    """Seal all secrets anew; gives back how many there are."""
    done = 0
    for table, names in SECRETS.items():
        for row in session.scalars(sa.select(table).with_for_update()):
            for name in names:
                sealed: bytes | None = getattr(row, name)
                # Of a deleted endpoint the secret is empty.
                if sealed:
                    setattr(row, name, reseal(sealed))
                    done += 1
    session.flush()
    return done


def signing(session: Session, limit: int) -> list[bytes]:
    """The secrets that webhooks are signed with now, those of the newest endpoints first, then the projects'."""
    alive = sa.select(col(WebhookEndpoint.secret)).where(col(WebhookEndpoint.deleted_at).is_(None))
    newest = session.scalars(alive.order_by(col(WebhookEndpoint.id).desc()).limit(limit)).all()
    return [*newest, *session.scalars(sa.select(col(Project.webhook_secret)).limit(limit))]


def rewrite(
    session: Session, table: Document, *, after: tuple[str, int], limit: int, enough_bytes: int
) -> list[tuple[str, int]]:
    """Write the next documents after a (job, turn) as they are, sealed by the present key; gives back which.

    No more once they come to `enough_bytes`: nobody else writes to SQLite meanwhile.
    """
    place, column = (col(table.job_id), col(table.turn)), getattr(table, DOCUMENTS[table])
    rows = sa.select(*place).where(sa.tuple_(*place) > after).order_by(*place).limit(limit)
    found = [(row.job_id, row.turn) for row in session.execute(rows)]
    size = 0
    for number, (job_id, turn) in enumerate(found, 1):
        # One by one: each may have 20 MB.
        mine = (col(table.job_id) == job_id, col(table.turn) == turn)
        body = session.execute(sa.select(column).where(*mine).with_for_update()).scalar_one_or_none()
        if body is not None:
            session.execute(sa.update(table).where(*mine).values({column: body}))
            size += len(body)
        if size >= enough_bytes:
            return found[:number]
    return found
