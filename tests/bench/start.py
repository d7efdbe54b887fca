"""Start: how long after its commit a job's interaction exists upstream, with one worker and 50 ms to the upstream."""

from collections.abc import Collection
from typing import Any

import uvloop

from tests.bench import entrants, jobs, race
from tests.bench.entrants import COUNTDOWN
from tests.bench.ground import LATENCY_S, Ground
from tests.bench.jobs import Looker
from tests.bench.machine import quantile
from tests.bench.table import NOTHING, share
from tests.stack import Stack
from tests.waiting import eventually

ALONE, CROWD = 5, 200
P50_S = 1.0
NOWHERE = "http://127.0.0.1:9/hook"
SIMULATOR = {"latency_s": LATENCY_S, "model_s": 600}
COLUMNS = ("program", "database", "one job alone, median s", f"{CROWD} at once, p50 s", "p99 s")


def run(ground: Ground) -> None:
    """Five jobs one after the other, then 200 in one batch; then 200 by countdown polling."""
    title = f"Start: from the commit to the interaction, {LATENCY_S * 1000:.0f} ms to the upstream"
    ground.report.table(title, *COLUMNS)
    for kind in ground.databases:
        with ground.site(kind) as site, Stack(site.folder, site.database_url, simulator=SIMULATOR) as stack:
            alone = [_ours_s(stack, 1)[0] for _ in range(ALONE)]
            crowd = _ours_s(stack, CROWD)
        verdict = ground.report.at_most(quantile(crowd, 0.5), P50_S, 2)
        ground.report.row("Nightdesk", kind, share(alone, 0.5, 3), verdict, share(crowd, 0.99, 2))
    with (
        ground.site(ground.main) as site,
        Stack(site.folder, site.database_url, workers=0, api=False, simulator=SIMULATOR) as stack,
    ):
        crowd = _countdown_s(stack)
    ground.report.row(COUNTDOWN.name, ground.main, NOTHING, share(crowd, 0.5, 2), share(crowd, 0.99, 2))


def _ours_s(stack: Stack, number: int) -> list[float]:
    """From the row's `created_at` to the simulator's; the bar counts from the commit, which is later still."""
    accepted = set(jobs.submit(stack, number))
    with jobs.looking(stack.settings.database) as looker:
        rows = _started(looker, "job", accepted)
    return _lags_s(stack, rows)


def _countdown_s(stack: Stack) -> list[float]:
    COUNTDOWN.prepare(stack)
    uvloop.run(COUNTDOWN.begin(stack, NOWHERE, CROWD))
    with jobs.looking(entrants.environment(stack)["PEER_DATABASE_URL"]) as looker:
        rows = _started(looker, "plain_job", range(CROWD))
    return _lags_s(stack, rows)


def _started(looker: Looker, table: str, wanted: Collection[object]) -> list[Any]:
    """The rows wanted, or as many as are wanted, once all of them have an interaction."""

    def found() -> list[Any]:
        rows = looker.rows(f"SELECT id, interaction_id, created_at FROM {table} WHERE interaction_id IS NOT NULL")
        return [row for row in rows if row.id in wanted or isinstance(wanted, range)]

    return eventually(lambda: rows if len(rows := found()) == len(wanted) else [], within_s=120)


def _lags_s(stack: Stack, rows: list[Any]) -> list[float]:
    runs = race.upstream(stack.simulator_url)
    return [runs[row.interaction_id].created_at - jobs.seconds(row.created_at) for row in rows]
