"""Submit: what one API process accepts, beside the plainest handler that commits a row and calls `.delay()`.

In turns on one machine with the same clients, on databases of the same kind; once more while workers are saturated.
"""

import statistics
from dataclasses import dataclass

import httpx2
import sqlalchemy as sa
import uvloop

from tests.bench import entrants, load, usage
from tests.bench.ground import BODY, LATENCY_S, Ground, Site
from tests.bench.load import Load
from tests.bench.machine import quantile
from tests.bench.table import NOTHING
from tests.stack import Stack, free_port
from worker.app import QUEUES, START, redis_client
from worker.database import Database

ROUNDS = 3
RUN_S, QUICK_S = 10.0, 2.0
TIMES, TAIL, SATURATED_MS = 4.0, 0.5, 250.0
BATCH, BATCH_CLIENTS = 100, 4
RUNNING = 2_000
ENV = {"NIGHTDESK_MAX_QUEUED": "1000000"}
QUICK_POLLS = {f"NIGHTDESK_POLL_MODEL_{name}": "1" for name in ("START_S", "FACTOR", "CAP_S")}
COLUMNS = ("API", "database", "jobs/s", "p50 ms", "p99 ms", "API CPU ms a job", "against the plainest handler")


@dataclass(frozen=True, slots=True)
class Seen:
    """What one round showed: the load as the clients saw it, and the API's CPU."""

    load: Load
    cpu_s: float
    jobs: int

    @property
    def rate(self) -> float:
        """Jobs accepted in a second."""
        return self.jobs / self.load.took_s

    def ms(self, part: float) -> float:
        """A quantile of the latencies."""
        return quantile(self.load.latencies_s, part) * 1000


def run(ground: Ground) -> None:
    """Ours and the plain handler in turns, then batches, then both beside workers at full rate."""
    seconds = QUICK_S if ground.is_quick else RUN_S
    ground.report.table(f"Submit: one API process, {load.CLIENTS} connections, {seconds:g} s", *COLUMNS)
    for kind in ground.databases:
        rounds = [_round(ground, kind, seconds) for _ in range(1 if ground.is_quick else ROUNDS)]
        _compare(ground, kind, [ours for ours, _, _ in rounds], [plain for _, plain, _ in rounds])
        batch = rounds[-1][2]
        cells = _cells(batch, f"Nightdesk, {BATCH} jobs in a batch, {BATCH_CLIENTS} connections", kind)
        ground.report.row(*cells, "p50 and p99 of a batch")
        with ground.site(kind) as site:
            _beside_workers(ground, site, seconds)


def _round(ground: Ground, kind: str, seconds: float) -> tuple[Seen, Seen, Seen]:
    """Ours, the plain handler, and batches; no workers, so that what was accepted can be counted."""
    with ground.site(kind) as site, Stack(site.folder, site.database_url, workers=0, env=ENV) as stack:
        port = free_port()
        entrants.start_api(stack, port)
        ours = _single(stack, "api", f"{stack.url}/v1/jobs", seconds)
        plain = _single(stack, "api-plain", f"http://127.0.0.1:{port}/v1/jobs", seconds)
        batch = _batches(stack, seconds / 2)
        _check(stack, ours, plain, batch)
    return ours, plain, batch


def _single(stack: Stack, name: str, url: str, seconds: float) -> Seen:
    one, api = load.request(url, stack.headers, BODY), [stack.processes[name]]
    before_s = usage.cpu_s(api)
    seen = uvloop.run(load.post_for(url, one, seconds))
    return Seen(seen, usage.cpu_s(api) - before_s, len(seen.latencies_s))


def _batches(stack: Stack, seconds: float) -> Seen:
    url, api = f"{stack.url}/v1/jobs/batch", [stack.processes["api"]]
    one = load.request(url, stack.headers, {"jobs": [BODY] * BATCH})
    before_s = usage.cpu_s(api)
    seen = uvloop.run(load.post_for(url, one, seconds, clients=BATCH_CLIENTS))
    return Seen(seen, usage.cpu_s(api) - before_s, len(seen.latencies_s) * BATCH)


def _check(stack: Stack, ours: Seen, plain: Seen, batch: Seen) -> None:
    """Every answer of 202 is a row, and messages went out."""
    database = stack.settings.database
    assert _rows(database, "job") == ours.jobs + batch.jobs, "accepted jobs are missing"
    assert _rows(entrants.environment(stack)["PEER_DATABASE_URL"], "plain_job") == plain.jobs
    redis = redis_client(stack.settings, timeout_s=5)
    hinted, delayed = redis.llen(QUEUES[START]), redis.llen("celery")
    redis.close()
    assert hinted, "no start was hinted"
    assert delayed == plain.jobs, f"{plain.jobs} messages were sent by the plain handler, {delayed} arrived"


def _compare(ground: Ground, kind: str, ours: list[Seen], plain: list[Seen]) -> None:
    """Medians over the rounds; the ratios are of pairs that ran one after the other."""
    report = ground.report
    times = statistics.median(one.rate / other.rate for one, other in zip(ours, plain, strict=True))
    tail = statistics.median(one.ms(0.99) / other.ms(0.99) for one, other in zip(ours, plain, strict=True))
    verdict = f"{report.at_least(times, TIMES, unit=' x its rate')}, {report.at_most(tail, TAIL, 2, ' x its p99')}"
    report.row(*_cells(_middle(ours), "Nightdesk", kind), verdict)
    report.row(*_cells(_middle(plain), "plainest handler", kind), NOTHING)


def _middle(rounds: list[Seen]) -> Seen:
    return sorted(rounds, key=lambda seen: seen.rate)[len(rounds) // 2]


def _cells(seen: Seen, name: str, kind: str) -> list[str]:
    spent = f"{seen.cpu_s / seen.jobs * 1000:.2f}"
    return [name, kind, f"{seen.rate:,.0f}", f"{seen.ms(0.5):.0f}", f"{seen.ms(0.99):.0f}", spent]


def _beside_workers(ground: Ground, site: Site, seconds: float) -> None:
    """Our API while its worker creates and polls 2,000 a second; the plain one while its worker does what it can."""
    simulator = {"latency_s": LATENCY_S, "model_s": 3600}
    with Stack(site.folder / "ours", site.database_url, simulator=simulator, env={**ENV, **QUICK_POLLS}) as stack:
        _fill(stack, 200 if ground.is_quick else RUNNING)
        seen = _single(stack, "api", f"{stack.url}/v1/jobs", seconds)
        cells = _cells(seen, "Nightdesk, its worker saturated", site.kind)
        cells[4] = ground.report.at_most(seen.ms(0.99), SATURATED_MS, 0)
        ground.report.row(*cells, NOTHING)
    with Stack(site.folder / "plain", site.database_url, api=False, workers=0, simulator=simulator) as stack:
        entrants.COUNTDOWN.prepare(stack)
        url = f"{stack.url}/v1/jobs"
        _single(stack, "api-plain", url, seconds / 2)
        seen = _single(stack, "api-plain", url, seconds)
        ground.report.row(*_cells(seen, "plainest handler, its Celery worker saturated", site.kind), NOTHING)


def _fill(stack: Stack, jobs: int) -> None:
    batch = {"jobs": [BODY] * min(jobs, 1000)}
    for _ in range(max(1, jobs // 1000)):
        httpx2.post(f"{stack.url}/v1/jobs/batch", json=batch, headers=stack.headers, timeout=60).raise_for_status()


def _rows(url: str, table: str) -> int:
    database = Database(url)
    with database.read() as session:
        stored = int(session.execute(sa.text(f"SELECT count(*) FROM {table}")).scalar_one())
    database.close()
    return stored
