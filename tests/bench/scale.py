"""Scale: what claims, picks, ticks and lists cost with a thousand and with a million finished jobs behind them."""

import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from time import perf_counter
from typing import Any

import httpx2
import sqlalchemy as sa
from pydantic import SecretStr

from api import cursor
from tests.bench import plans
from tests.bench.fill import fill
from tests.bench.ground import BODY, POSTGRESQL, Ground
from tests.bench.plans import Plan
from tests.stack import Stack
from worker import context as contexts
from worker.context import Context
from worker.flow import sweep, wake
from worker.models import Delivery, Job
from worker.store import claims, deliveries, jobs, projects, removals, results

FEW, MANY, QUICK_MANY = 1_000, 1_000_000, 20_000
TIMES = 7
KEPT, SLACK_MS = 3.0, 2.0
"""A cost counts as kept up to so many times what it was, and these milliseconds more."""

TIMEOUT_S = 60.0
LISTS: dict[str, dict[str, str]] = {
    "no filter": {},
    "status=completed": {"status": "completed"},
    "status=failed, 1 in 1,000": {"status": "failed"},
    "status=in_progress": {"status": "in_progress"},
    "status=expired, none": {"status": "expired"},
    "agent=, 1 in 100": {"agent": "deep-research-preview-04-2026"},
    "agent=, none": {"agent": "deep-research-max-preview-04-2026"},
    "priority=high": {"priority": "high"},
    "metadata[run]=, 1 in 10,000": {"metadata[run]": "r77"},
    "metadata[run]=, none": {"metadata[run]": "nobody"},
    "label[team]=, none": {"label[team]": "nobody"},
    "conversation=": {"conversation": "job_of_nobody"},
}
Costs = dict[str, float]


def run(ground: Ground) -> None:
    """The same calls on a small and on a large database of each kind."""
    many = QUICK_MANY if ground.is_quick else MANY
    for kind in ground.databases:
        (few, few_plans), (lots, lots_plans) = (_measure(ground, kind, rows) for rows in (FEW, many))
        columns = ("what", f"ms with {FEW:,} finished", f"ms with {many:,}")
        ground.report.table(f"Scale: {kind}, a few thousand live jobs, medians of {TIMES}", *columns)
        for name, ms in few.items():
            ground.report.row(name, f"{ms:.1f}", ground.report.at_most(lots[name], round(KEPT * ms + SLACK_MS, 1)))
        if kind == POSTGRESQL:
            _report_plans(ground, few_plans, lots_plans, many)


def _report_plans(ground: Ground, few: dict[str, Plan], lots: dict[str, Plan], many: int) -> None:
    columns = ("statement", "index", "tables walked whole", "rows expected")
    sizes = (f"cost with {FEW:,}", f"cost with {many:,}")
    ground.report.table(
        "Plans: PostgreSQL's estimates; a claim that walks no table costs the same with ten million", *columns, *sizes
    )
    for name, plan in lots.items():
        walked = ground.report.holds(", ".join(plan.walked) or "none", is_met=not plan.walked)
        costs = (f"{few[name].cost:,.0f}", f"{plan.cost:,.0f}")
        ground.report.row(name, ", ".join(plan.indexes), walked, f"{plan.rows:,}", *costs)


def _measure(ground: Ground, kind: str, rows: int) -> tuple[Costs, dict[str, Plan]]:
    with ground.site(kind) as site, Stack(site.folder, site.database_url, workers=0) as stack, _engine(stack) as engine:
        with engine.database.read() as session:
            project = projects.by_name(session, projects.DEFAULT)
            assert project is not None
        fill(stack.settings.database, project.id, rows)
        costs = {name: _ms(call, undo) for name, (call, undo) in _calls(engine).items()}
        costs |= _asked(stack)
        return costs, plans.explain(engine.database) if site.kind == POSTGRESQL else {}


@contextmanager
def _engine(stack: Stack) -> Iterator[Context]:
    """What a worker has, in this process, with a clock that runs a second for each look."""
    given = {"gemini_api_key": SecretStr("simulated"), "gemini_base_url": stack.simulator_url}
    moment = [datetime.now(UTC) + timedelta(minutes=5)]

    def clock() -> datetime:
        moment[0] += timedelta(seconds=1)
        return moment[0]

    context = contexts.build(stack.settings.model_copy(update=given), clock)
    try:
        yield context
    finally:
        context.close()


def _calls(engine: Context) -> dict[str, tuple[Callable[[], Any], Callable[[], Any]]]:
    """Each call, and what takes its effect back."""
    nothing = partial(int)
    return {
        "claim 500 polls": (partial(_claim_polls, engine), partial(_release, engine, "in_progress")),
        "pick 16 starts": (partial(wake.pick, engine, 16), partial(_release, engine, "queued")),
        "claim 64 deliveries": (partial(_claim_deliveries, engine), partial(_release_deliveries, engine)),
        "a tick of the sweep": (partial(_tick, engine), nothing),
        "a tick that prunes": (partial(_prune, engine), nothing),
        "forget 500 jobs with all they have": (partial(_forget, engine), nothing),
        "count the queued, at each submission": (partial(_count, engine), nothing),
    }


def _ms(call: Callable[[], Any], undo: Callable[[], Any]) -> float:
    took = []
    for _ in range(TIMES):
        began = perf_counter()
        call()
        took.append((perf_counter() - began) * 1000)
        undo()
    return statistics.median(took)


def _claim_polls(engine: Context) -> None:
    now = engine.clock()
    with engine.database.write() as session:
        assert len(claims.polls(session, claim="c", now=now, until=now + timedelta(hours=1), limit=500)) == 500


def _claim_deliveries(engine: Context) -> None:
    now = engine.clock()
    with engine.database.write() as session:
        until = now + timedelta(hours=1)
        assert len(deliveries.claim(session, claim="c", now=now, until=until, limit=64)) == 64


def _release(engine: Context, status: str) -> None:
    past = engine.clock() - timedelta(hours=2)
    with engine.database.write() as session:
        session.execute(sa.update(Job).where(Job.status == status).values(due_at=past, claim=None))  # type: ignore[arg-type]


def _release_deliveries(engine: Context) -> None:
    past = engine.clock() - timedelta(hours=2)
    with engine.database.write() as session:
        pending = sa.text("status = 'pending'")
        session.execute(sa.update(Delivery).where(pending).values(due_at=past, claim=None))


def _tick(engine: Context) -> None:
    assert sweep.tick(engine)


def _prune(engine: Context) -> None:
    for _ in range(60):
        engine.clock()
    assert sweep.tick(engine)


def _forget(engine: Context) -> None:
    """As if they were past their retention; and taken back."""
    later = engine.clock() + timedelta(days=100)
    with engine.database.write() as session, session.begin_nested() as taken_back:
        removals.results(session, results.expired(session, later, 500))
        old = removals.old_jobs(session, later - timedelta(days=1), 500)
        assert len(old) == 500
        removals.jobs(session, old)
        removals.payloads(session, removals.old_payloads(session, later, 500))
        removals.old_deliveries(session, later, 500)
        taken_back.rollback()


def _count(engine: Context) -> None:
    with engine.database.read() as session:
        jobs.waiting(session)


def _asked(stack: Stack) -> Costs:
    """What the API's callers wait for."""
    with httpx2.Client(base_url=stack.url, headers=stack.headers, timeout=TIMEOUT_S) as client:
        costs = {f"GET /v1/jobs, {name}": _got(client, "/v1/jobs", query) for name, query in LISTS.items()}
        hour = timedelta(hours=1)
        newest, oldest = datetime.now(UTC) - hour, datetime.now(UTC) - timedelta(days=24) + hour
        costs["GET /v1/jobs, created_after="] = _got(client, "/v1/jobs", {"created_after": newest.isoformat()})
        costs["GET /v1/jobs, created_before="] = _got(client, "/v1/jobs", {"created_before": oldest.isoformat()})
        far = {"cursor": cursor.encode("job", _oldest(stack))}
        costs["GET /v1/jobs, its last page"] = _got(client, "/v1/jobs", far)
        costs["GET /v1/stats, the first"] = _got(client, "/v1/stats", {}, times=1)
        costs["GET /metrics, the first"] = _got(client, "/metrics", {}, times=1)
        post = partial(client.post, "/v1/jobs", json=BODY)
        return costs | {"POST /v1/jobs": _ms(lambda: post().raise_for_status(), partial(int))}


def _got(client: httpx2.Client, path: str, query: dict[str, str], times: int = TIMES) -> float:
    """The median; where even one takes a second, that one. A timeout counts as what was waited."""
    took: list[float] = []
    while len(took) < times and not (took and took[-1] > 1000):
        began = perf_counter()
        answer = client.get(path, params=query)
        took.append((perf_counter() - began) * 1000)
        assert answer.status_code in {200, 500, 503}, answer.text
    return statistics.median(took)


def _oldest(stack: Stack) -> str:
    """The job after which the last page begins."""
    engine = sa.create_engine(stack.settings.database)
    with engine.connect() as connection:
        found = connection.execute(sa.text("SELECT id FROM job ORDER BY id LIMIT 1 OFFSET 20")).scalar_one()
    engine.dispose()
    return str(found)
