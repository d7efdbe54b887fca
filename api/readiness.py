"""`/readyz`: whether this process can serve, and the signs of life of all others. Only the database makes it fail."""

import math
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Any

from worker.app import START
from worker.context import Context
from worker.database import pending
from worker.document import stamp
from worker.errors import Unavailable
from worker.models import Gate
from worker.store import gates, moments, stats
from worker.store.stats import Load

OK, DEGRADED, FAILED = "ok", "degraded", "failed"
OTHER = "other"
SWEEP_LATE_S = 15
CONSUMED_LATE_S = 60
UPSTREAM_LATE_S = 300
MIGRATIONS_EVERY_S = 30.0


@dataclass(frozen=True, slots=True)
class _Signs:
    """What the database knows of the rest of the service."""

    moments: dict[str, datetime]
    gates: list[Gate]
    load: Load


class Readiness:
    """Asks everything anew at each report but the migrations, which only a deployment changes."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._migrated_until = -math.inf
        # Anybody may ask, and what an agent of somebody's own is called is nobody else's business.
        self._public = {gates.KEY, gates.POLL, *(name for _, name in context.catalog.known)}

    def report(self) -> tuple[bool, dict[str, Any]]:
        """Whether this process can serve, and every check."""
        now = self._context.clock()
        try:
            checks = {"database": {"status": OK}, "migrations": self._migrations()}
            with self._context.database.read() as session:
                signs = _Signs(moments.all_moments(session), gates.all_gates(session), stats.load(session, now))
        except Unavailable as error:
            checks = {"database": {"status": FAILED, "detail": str(error)}}
            return False, {"status": FAILED, "checks": checks}
        backlog = self._context.sender.backlog(START)
        checks["broker"] = {"status": DEGRADED if backlog is None else OK, "start_backlog": backlog}
        checks["sweep"] = _age(signs.moments.get(moments.SWEEP), now, late_s=SWEEP_LATE_S)
        checks["consumption"] = _age(
            signs.moments.get(moments.CONSUMED), now, late_s=CONSUMED_LATE_S, is_owed=bool(backlog)
        )
        checks["upstream"] = _age(
            signs.moments.get(moments.UPSTREAM), now, late_s=UPSTREAM_LATE_S, is_owed=bool(signs.load.due)
        )
        checks["gates"] = _gates(signs.gates, self._public, now)
        return _verdict(checks)

    def _migrations(self) -> dict[str, Any]:
        if monotonic() >= self._migrated_until:
            if pending(self._context.database):
                return {"status": FAILED, "detail": "the schema is older than this release"}
            self._migrated_until = monotonic() + MIGRATIONS_EVERY_S
        return {"status": OK}


def _verdict(checks: dict[str, dict[str, Any]]) -> tuple[bool, dict[str, Any]]:
    found = {check["status"] for check in checks.values()}
    status = FAILED if FAILED in found else DEGRADED if DEGRADED in found else OK
    return status != FAILED, {"status": status, "checks": checks}


def _age(at: datetime | None, now: datetime, *, late_s: float, is_owed: bool = True) -> dict[str, Any]:
    """When something last happened: late only where it should have happened."""
    age_s = None if at is None else max(0.0, round((now - at).total_seconds(), 1))
    is_late = is_owed and (age_s is None or age_s > late_s)
    return {"status": DEGRADED if is_late else OK, "last_at": stamp(at), "age_seconds": age_s}


def _gates(found: list[Gate], public: Collection[str], now: datetime) -> dict[str, Any]:
    shut = [
        {
            "target": gate.target if gate.target in public else OTHER,
            "reason": "paused" if gate.paused else gate.reason,
            "until": stamp(gate.closed_until),
        }
        for gate in found
        if gates.is_shut(gate, now) or gate.reason is not None
    ]
    return {"status": DEGRADED if shut else OK, "closed": shut}
