"""Answers that the door owes: what was answered is struck out, also where the database is away for a moment."""

import asyncio
from contextlib import suppress

from api.gemini.owed import Debt, Owed
from tests.integration.engine.engine import Engine
from worker.errors import Unavailable
from worker.models import Idempotency
from worker.store import owed

PATH = "/gemini/interactions#digest"


def test_an_answer_that_could_not_be_struck_out_is_struck_out_later(engine: Engine) -> None:
    debt = Debt(engine.project_id, PATH, "job_1")
    row = Idempotency(
        project_id=debt.project_id, path=PATH, key=debt.job_id, digest="", job_ids=[], created_at=engine.clock()
    )
    with engine.context.database.write() as session:
        session.add(row)
    database = engine.between("database")
    failures = [Unavailable("away")]

    def fail() -> None:
        if failures:
            raise failures.pop()

    database.before["write"] = fail
    asyncio.run(struck_out(engine, debt))

    assert not failures
    assert unanswered(engine) == []


async def struck_out(engine: Engine, debt: Debt) -> None:
    """Settle the debt, and wait until it is written down that nothing is owed."""
    answers = Owed(engine.context)
    keeping = asyncio.create_task(answers.keep())
    answers.begin(debt)
    answers.settle(debt)
    async with asyncio.timeout(20):
        while unanswered(engine):  # noqa: ASYNC110 - another process's view of the rows
            await asyncio.sleep(0.02)
    keeping.cancel()
    with suppress(asyncio.CancelledError):
        await keeping


def unanswered(engine: Engine) -> list[str]:
    with engine.context.database.read() as session:
        return [*owed.unanswered(session, engine.project_id, PATH)]
