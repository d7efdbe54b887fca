"""Watch: a thousand streams at one API process over fifty running jobs, beside the barest fan-out of the same steps.

A delta is late by the time that a direct reader of the upstream had it before; the end of a job by its own stamp. All
runs begin together and say as much: every second or so comes a burst of a delta for each of the thousand.
"""

import asyncio
import sys
from dataclasses import dataclass

import uvloop

from tests.bench import jobs, usage
from tests.bench.audience import Audience
from tests.bench.entrants import here
from tests.bench.ground import LATENCY_S, Ground, Site
from tests.bench.machine import quantile
from tests.bench.table import NOTHING, pair, share
from tests.bench.waiting import finish
from tests.stack import Stack, free_port
from tests.waiting import eventually

WATCHERS, JOBS, WINDOW_S = 1000, 50, 30.0
RUN = "Tell of owls. [[sim: duration={duration_s:g} size=30kb]]"
DELTA_P99_MS, END_P99_MS = 500, 1000
COLUMNS = (
    "program",
    "database",
    "deltas/s to watchers",
    "delta late p50 / p99 ms",
    "end of a job late p50 / p99 ms",
    "CPU us a delta",
    "of a core",
    "MiB",
)


@dataclass(frozen=True, slots=True)
class Watched:
    """What a window showed."""

    audience: Audience
    direct: Audience
    frames: int
    cpu_s: float
    mib: float


def run(ground: Ground) -> None:
    """On the main database."""
    number, many = (5, 50) if ground.is_quick else (JOBS, WATCHERS)
    ground.report.table(f"Watch: {many:,} streams of {number} running jobs at one process", *COLUMNS)
    with ground.site(ground.main) as site:
        _run(ground, site, number, many)


def _run(ground: Ground, site: Site, number: int, many: int) -> None:
    seconds = 3.0 if ground.is_quick else WINDOW_S
    with Stack(site.folder, site.database_url, simulator={"latency_s": LATENCY_S}) as stack:
        urls = {one: f"{stack.url}/v1/jobs/{job_id}/events" for job_id, one in _running(stack, number, seconds).items()}
        ours = uvloop.run(_watch(stack, "api", urls, many, seconds))
        port = free_port()
        command = [sys.executable, "-m", "tests.bench.peers.fanout", stack.simulator_url, str(port)]
        stack.spawn("fanout", command, here())
        log = stack.folder / "fanout.log"
        eventually(lambda: b"serves" in log.read_bytes(), within_s=30, what="the fan-out's start")
        urls = {one: f"http://127.0.0.1:{port}/{one}" for one in _running(stack, number, seconds).values()}
        bare = uvloop.run(_watch(stack, "fanout", urls, many, seconds))
    assert len(ours.audience.ends_s) == many, f"{len(ours.audience.ends_s)} of {many} watchers were told the end"
    _report(ground, "Nightdesk", site.kind, ours, seconds, is_ours=True)
    _report(ground, "floor: asyncio + aiohttp, bytes passed on", NOTHING, bare, seconds, is_ours=False)
    ground.report.note(f"CPU against the floor's: {ours.cpu_s / ours.frames / (bare.cpu_s / bare.frames):.1f} times.")


def _running(stack: Stack, number: int, seconds: float) -> dict[str, str]:
    """New running jobs and their interactions; they last long enough for a window of so many seconds."""
    ids = jobs.submit(stack, number, input=RUN.format(duration_s=4 * seconds), timeout_seconds=7200)
    with jobs.looking(stack.settings.database) as looker:
        looker.await_count("in_progress", number, within_s=60)
        rows = looker.rows("SELECT id, interaction_id FROM job WHERE status = 'in_progress'")
    return {row.id: row.interaction_id for row in rows if row.id in ids}


async def _watch(stack: Stack, name: str, urls: dict[str, str], many: int, seconds: float) -> Watched:
    """Open the streams, let a window pass, end the runs and see all streams end."""
    audience, direct, process = Audience(), Audience(), [stack.processes[name]]
    for upstream_id, url in urls.items():
        plain = f"{stack.simulator_url}/v1/interactions/{upstream_id}?stream=true"
        await direct.watch(plain, upstream_id, {"x-goog-api-key": "simulated"})
        await audience.watch(url, upstream_id, stack.headers, many=many // len(urls))
    await audience.until(begun=many)
    await asyncio.sleep(1)
    frames, cpu_s = audience.frames, usage.cpu_s(process)
    audience.arrivals.clear()
    await asyncio.sleep(seconds)
    frames, cpu_s, mib = audience.frames, usage.cpu_s(process) - cpu_s, usage.pss_mib(process)
    seen = Audience(arrivals=audience.arrivals.copy())
    await asyncio.to_thread(lambda: [finish(stack, upstream_id) for upstream_id in urls])
    await audience.until(left=many)
    seen.ends_s = audience.ends_s
    return Watched(seen, direct, frames, cpu_s, mib)


def _report(ground: Ground, name: str, kind: str, watched: Watched, seconds: float, *, is_ours: bool) -> None:
    late_ms = [1000 * late_s for late_s in watched.audience.late_s(watched.direct)]
    ends_ms = [1000 * late_s for late_s in watched.audience.ends_s]
    deltas, ends = pair(late_ms, 0), pair(ends_ms, 0)
    if is_ours:
        deltas = f"{share(late_ms, 0.5, 0)} / {ground.report.at_most(quantile(late_ms, 0.99), DELTA_P99_MS, 0)}"
        ends = f"{share(ends_ms, 0.5, 0)} / {ground.report.at_most(quantile(ends_ms, 0.99), END_P99_MS, 0)}"
    ground.report.row(
        name,
        kind,
        f"{watched.frames / seconds:,.0f}",
        deltas,
        ends,
        f"{watched.cpu_s / watched.frames * 1e6:.0f}",
        f"{watched.cpu_s / seconds:.0%}",
        f"{watched.mib:.0f}",
    )
