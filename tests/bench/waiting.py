"""Ten thousand in flight: what they cost one worker at the cap of the default schedule, and how late it is.

Beside it a bare asyncio and aiohttp script that does only the polls: each interaction once in 9 to 10 s, as here.
"""

import httpx2

from tests.bench import floor, jobs, poll, race, usage
from tests.bench.ground import LATENCY_S, POSTGRESQL, Ground, Site, let_pass
from tests.bench.table import pair
from tests.stack import Stack

JOBS = 10_000
CAP_IN_S, WINDOW_S, FLOOR_S = 35.0, 30.0, 20.0
ENDED, ENDED_AT_ONCE, ENDED_EVERY_S = 300, 10, 0.4
LAG_P99_S = 1.0


def run(ground: Ground) -> None:
    """On PostgreSQL, if that is among the databases."""
    number = 300 if ground.is_quick else JOBS
    title = f"Waiting: {number:,} interactions in flight at the cap of the default schedule"
    ground.report.table(title, *poll.COLUMNS)
    kind = POSTGRESQL if POSTGRESQL in ground.databases else ground.main
    with ground.site(kind) as site:
        _run(ground, site, number)


def _run(ground: Ground, site: Site, number: int) -> None:
    simulator = {"latency_s": LATENCY_S, "model_s": 36_000}
    seconds = 5 if ground.is_quick else FLOOR_S
    with Stack(site.folder, site.database_url, simulator=simulator) as stack:
        names = poll.in_flight(stack, number)
        let_pass(5 if ground.is_quick else CAP_IN_S)
        server_s = usage.cpu_s(ground.server.processes)
        polled = poll.window(stack, 10 if ground.is_quick else WINDOW_S)
        server_s = usage.cpu_s(ground.server.processes) - server_s
        detect_s = _detected_s(stack, names[: 30 if ground.is_quick else ENDED])
        stack.kill("worker-0")
        paced = floor.gets(site.folder, stack.simulator_url, names, "paced", seconds)
        flat = floor.gets(site.folder, stack.simulator_url, names, "flat", seconds / 4)
    poll.report(ground, site.kind, "Nightdesk", polled, paced, bar_s=LAG_P99_S)
    poll.report_floor(ground, "floor: the same polls by asyncio + aiohttp", paced)
    poll.report_floor(ground, "floor: GETs flat out", flat)
    ground.report.note(
        f"Detected {pair(detect_s)} s (p50 / p99) after the end, of {len(detect_s)} that ended meanwhile; "
        f"ratio to GETs flat out {polled.cpu_us / flat.cpu_us:.2f}; "
        f"PostgreSQL's CPU {server_s / polled.polls * 1e6:.0f} us a poll."
    )


def _detected_s(stack: Stack, names: list[str]) -> list[float]:
    """End some of the interactions, a few at a time, and see when their jobs are completed."""
    ended: dict[str, float] = {}
    for number, name in enumerate(names):
        if number % ENDED_AT_ONCE == 0:
            let_pass(ENDED_EVERY_S)
        ended[name] = finish(stack, name)
    with jobs.looking(stack.settings.database) as looker:
        looker.await_count("completed", len(names), within_s=60)
        rows = looker.rows("SELECT interaction_id, finished_at FROM job WHERE status = 'completed'")
    return [jobs.seconds(finished_at) - ended[name] for name, finished_at in rows]


def finish(stack: Stack, name: str) -> float:
    """Let an interaction end now; gives back when that was."""
    url = f"{stack.simulator_url}/_sim/interactions/{name}"
    return race.Run.of(httpx2.post(url, json={"finish": True}, timeout=10).json()).ends_at
