"""Lag: what a schedule costs upstream and what it gives, as requests for each job against the time to detection."""

from contextlib import ExitStack

from tests.bench import jobs, race
from tests.bench.ground import LATENCY_S, Ground
from tests.bench.table import pair
from tests.stack import Stack

SCHEDULES = ((1, 1.5, 10), (1, 1.5, 5), (1, 1, 1), (2, 1.5, 30))
"""Start, factor and cap, in seconds; the first is the default for models."""

JOBS, DURATION_S = 200, 60.0


def run(ground: Ground) -> None:
    """All schedules at the same time, each with an installation of its own: none has much to do."""
    duration_s = 5.0 if ground.is_quick else DURATION_S
    ground.report.table(
        f"Lag: {JOBS} jobs of {duration_s:g} s under several schedules",
        "first poll after s",
        "factor",
        "cap s",
        "GETs a job",
        "detected p50 / p99 s",
    )
    with ExitStack() as opened:
        sites = [opened.enter_context(ground.site(ground.main)) for _ in SCHEDULES]
        simulator = {"latency_s": LATENCY_S, "model_s": duration_s}
        stacks = [
            opened.enter_context(Stack(site.folder, site.database_url, simulator=simulator, env=_env(*schedule)))
            for site, schedule in zip(sites, SCHEDULES, strict=True)
        ]
        for stack in stacks:
            jobs.submit(stack, JOBS)
        for schedule, stack in zip(SCHEDULES, stacks, strict=True):
            ground.report.row(*(f"{part:g}" for part in schedule), *_cells(stack, duration_s))


def _env(start_s: float, factor: float, cap_s: float) -> dict[str, str]:
    parts = {"START_S": start_s, "FACTOR": factor, "CAP_S": cap_s}
    return {f"NIGHTDESK_POLL_MODEL_{name}": str(value) for name, value in parts.items()}


def _cells(stack: Stack, duration_s: float) -> list[str]:
    with jobs.looking(stack.settings.database) as looker:
        looker.await_count("completed", JOBS, within_s=duration_s * 1.2 + 60)
        rows = looker.rows("SELECT interaction_id, finished_at FROM job")
    runs = race.upstream(stack.simulator_url)
    detect_s = [jobs.seconds(finished_at) - runs[name].ends_at for name, finished_at in rows]
    return [f"{race.gets(stack.simulator_url) / JOBS:.1f}", pair(detect_s)]
