"""Settle: what a large result costs the worker, beside a bare client that only GETs it and parses its JSON."""

from dataclasses import dataclass

import orjson

from tests.bench import floor, jobs, poll, usage, waiting
from tests.bench.ground import LATENCY_S, Ground, Site, let_pass
from tests.bench.jobs import Looker
from tests.bench.machine import quantile
from tests.stack import Stack

SIZES = {"200kb": 100, "5mb": 12}
"""How many results of each size are settled at once."""

IDLE_S, FLOOR_S = 5.0, 2.0
ENV = {**poll.EACH_SECOND, "NIGHTDESK_LOG_LEVEL": "info"}


@dataclass(frozen=True, slots=True)
class Settled:
    """The worker's CPU for all results, how long each settle and all of them took, its memory before and at most."""

    cpu_s: float
    took_ms: list[float]
    all_s: float
    before_mib: float
    peak_mib: float


def run(ground: Ground) -> None:
    """Results of 200 KB and of 5 MB."""
    ground.report.table(
        "Settle: results that all come at once",
        "size",
        "database",
        "results",
        "worker CPU ms a result",
        "settle p50 / p99 ms",
        "all settled in s",
        "worker MiB before, at the peak",
        "floor: GET and JSON, CPU ms",
    )
    for kind in ground.databases:
        for size, number in SIZES.items():
            with ground.site(kind) as site:
                _run(ground, site, size, max(2, number // 5) if ground.is_quick else number)


def _run(ground: Ground, site: Site, size: str, number: int) -> None:
    simulator = {"latency_s": LATENCY_S, "model_s": 36_000}
    with (
        Stack(site.folder, site.database_url, simulator=simulator, env=ENV) as stack,
        jobs.looking(stack.settings.database) as looker,
    ):
        jobs.submit(stack, number, input=f"Say hello. [[sim: size={size}]]")
        looker.await_count("in_progress", number, within_s=60)
        names = [row.interaction_id for row in looker.rows("SELECT interaction_id FROM job")]
        settled = _measure(stack, looker, names)
        stack.kill("worker-0")
        bare = floor.gets(site.folder, stack.simulator_url, names, "flat", FLOOR_S)
    took_ms = settled.took_ms
    ground.report.row(
        size,
        site.kind,
        str(number),
        f"{settled.cpu_s / number * 1000:.1f}",
        f"{quantile(took_ms, 0.5):.0f} / {quantile(took_ms, 0.99):.0f}",
        f"{settled.all_s:.1f}",
        f"{settled.before_mib:.0f}, {settled.peak_mib:.0f}",
        f"{bare.cpu_us / 1000:.1f}",
    )


def _measure(stack: Stack, looker: Looker, names: list[str]) -> Settled:
    """Let all interactions end at once; what the worker uses for its polls anyway is taken off."""
    worker = stack.processes["worker-0"]
    let_pass(1)
    idle_s = usage.cpu_s([worker])
    let_pass(IDLE_S)
    idle_s = (usage.cpu_s([worker]) - idle_s) / IDLE_S
    usage.forget_peak(worker)
    before_mib, cpu_s = usage.resident_mib(worker), usage.cpu_s([worker])
    began = min([waiting.finish(stack, name) for name in names])
    looker.await_count("completed", len(names), within_s=120)
    cpu_s = usage.cpu_s([worker]) - cpu_s
    all_s = max(jobs.seconds(row.finished_at) for row in looker.rows("SELECT finished_at FROM job")) - began
    return Settled(cpu_s - idle_s * all_s, _took_ms(stack), all_s, before_mib, usage.peak_mib(worker))


def _took_ms(stack: Stack) -> list[float]:
    """How long each settle took, by the worker's own log."""
    lines = (stack.folder / "worker-0.log").read_bytes().splitlines()
    told = [orjson.loads(line) for line in lines if b'"job.settle"' in line]
    return [line["duration_ms"] for line in told]
