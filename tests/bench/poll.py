"""Poll: what one worker pays for each look at a running interaction, beside a bare aiohttp loop doing only the GETs."""

from dataclasses import dataclass

from tests.bench import floor, jobs, race, usage
from tests.bench.floor import Floor
from tests.bench.ground import LATENCY_S, Ground, Site, let_pass
from tests.bench.jobs import Looker
from tests.bench.machine import quantile
from tests.bench.table import NOTHING
from tests.stack import Stack

JOBS, QUICK_JOBS = 2_000, 200
EACH_SECOND = {f"NIGHTDESK_POLL_MODEL_{name}": "1" for name in ("START_S", "FACTOR", "CAP_S")}
SETTLE_IN_S, WINDOW_S, FLOOR_S = 12.0, 20.0, 5.0
SDK_GETS = 100
SAMPLES = 10
RATIO = 1.5
COLUMNS = (
    "program",
    "database",
    "polls/s",
    "CPU us a poll",
    "ratio to the floor",
    "of a core",
    "answer seen after due p50 / p99 s",
    "worker MiB",
)
ANSWERED = "SELECT last_polled_at, was_due_at FROM job WHERE claim IS NULL AND last_polled_at > was_due_at"


@dataclass(frozen=True, slots=True)
class Polled:
    """What a window showed: polls, the worker's CPU, how late answers were, the worker's memory."""

    polls: int
    seconds: float
    cpu_s: float
    lags_s: list[float]
    worker_mib: float

    @property
    def cpu_us(self) -> float:
        """CPU for each poll."""
        return self.cpu_s / self.polls * 1e6


def run(ground: Ground) -> None:
    """2,000 running interactions, each polled every second."""
    number = QUICK_JOBS if ground.is_quick else JOBS
    ground.report.table(f"Poll: {number:,} running interactions, each looked at once a second", *COLUMNS)
    for kind in ground.databases:
        with ground.site(kind) as site:
            _run(ground, site, number)


def _run(ground: Ground, site: Site, number: int) -> None:
    simulator = {"latency_s": LATENCY_S, "model_s": 36_000}
    with Stack(site.folder, site.database_url, simulator=simulator, env=EACH_SECOND) as stack:
        names = in_flight(stack, number)
        let_pass(2 if ground.is_quick else SETTLE_IN_S)
        polled = window(stack, 4 if ground.is_quick else WINDOW_S)
        stack.kill("worker-0")
        bare = floor.gets(site.folder, stack.simulator_url, names, "flat", FLOOR_S)
        sdk = floor.sdk_gets(site.folder, stack.simulator_url, names, SDK_GETS)
    report(ground, site.kind, "Nightdesk", polled, bare)
    report_floor(ground, "floor: bare aiohttp, flat out", bare)
    report_floor(ground, "the SDK's own get, one at a time", sdk)


def in_flight(stack: Stack, number: int) -> list[str]:
    """Submit so many jobs and wait until all run; gives back their interactions."""
    jobs.submit(stack, number, timeout_seconds=7200)
    with jobs.looking(stack.settings.database) as looker:
        looker.await_count("in_progress", number, within_s=300)
        return [row.interaction_id for row in looker.rows("SELECT interaction_id FROM job")]


def window(stack: Stack, seconds: float) -> Polled:
    """Watch a worker that does nothing but poll."""
    worker = usage.named(stack, "worker")
    polls, cpu_s, lags_s = race.gets(stack.simulator_url), usage.cpu_s(worker), list[float]()
    with jobs.looking(stack.settings.database) as looker:
        for _ in range(SAMPLES):
            let_pass(seconds / SAMPLES)
            lags_s += _lags_s(looker, seconds / SAMPLES)
    polls, cpu_s = race.gets(stack.simulator_url) - polls, usage.cpu_s(worker) - cpu_s
    return Polled(polls, seconds, cpu_s, lags_s, usage.pss_mib(worker))


def _lags_s(looker: Looker, within_s: float) -> list[float]:
    """From the moment an interaction was due to the record of its answer, of those recorded since the last look."""
    rows = [(jobs.seconds(answered), jobs.seconds(due)) for answered, due in looker.rows(ANSWERED)]
    newest = max((answered for answered, _ in rows), default=0.0)
    return [answered - due for answered, due in rows if answered > newest - within_s]


def report(ground: Ground, kind: str, name: str, polled: Polled, bare: Floor, *, bar_s: float | None = None) -> None:
    """Print a window."""
    p99_s = quantile(polled.lags_s, 0.99)
    late = f"{p99_s:.2f}" if bar_s is None else ground.report.at_most(p99_s, bar_s, 2)
    ground.report.row(
        name,
        kind,
        f"{polled.polls / polled.seconds:,.0f}",
        f"{polled.cpu_us:.0f}",
        ground.report.at_most(polled.cpu_us / bare.cpu_us, RATIO, 2),
        f"{polled.cpu_s / polled.seconds:.0%}",
        f"{quantile(polled.lags_s, 0.5):.2f} / {late}",
        f"{polled.worker_mib:.0f}",
    )


def report_floor(ground: Ground, name: str, bare: Floor) -> None:
    """Print a floor below it."""
    ground.report.row(name, NOTHING, f"{bare.rate:,.0f}", f"{bare.cpu_us:.0f}", *[NOTHING] * 4)
