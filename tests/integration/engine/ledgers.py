"""What the ledger has of a job, and runs that tell late what they used."""

from typing import Any

from tests.integration.engine.engine import Engine
from worker.gemini.usage import read_tokens
from worker.models import UsageEntry

NEVER = 1e9
"""Seconds after the end of a run: no test waits for its usage."""


def entries(engine: Engine, job_id: str) -> list[UsageEntry]:
    return sorted(engine.rows(UsageEntry, job_id), key=lambda entry: (entry.turn, entry.at))


def told(engine: Engine, job_id: str) -> int | None:
    """All tokens that the job says it used."""
    tokens = read_tokens(engine.job(job_id).usage)
    return tokens.total_tokens if tokens else None


def silent(engine: Engine, **fields: Any) -> str:
    """A job that completed without telling what it used."""
    job_id = engine.started(**fields)
    engine.finish(job_id, usage_late_s=NEVER)
    engine.poll()
    return job_id


def tell(engine: Engine, job_id: str) -> None:
    """Let the upstream tell from now on what the job's present interaction used."""
    engine.control.direct(engine.job(job_id).interaction_id or "", usage_late_s=0)
