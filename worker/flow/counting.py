"""Counting: what a process has counted is added to what all have, so that nothing is lost with a process."""

from worker import telemetry
from worker.context import Context
from worker.errors import NightdeskError
from worker.store import counters


def flush(context: Context) -> None:
    """Add what was counted since the last call to all counters; raises Unavailable and keeps it where that fails."""
    amounts = telemetry.drain()
    if not amounts:
        return
    try:
        with context.database.write() as session:
            counters.add(session, amounts)
    except NightdeskError:
        telemetry.restore(amounts)
        raise
