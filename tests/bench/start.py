"""Start: how long after its commit a job's interaction exists upstream, with one worker and 50 ms to the upstream."""

from tests.bench import jobs, race
from tests.bench.ground import LATENCY_S, Ground
from tests.bench.machine import quantile
from tests.bench.table import share
from tests.stack import Stack
from tests.waiting import eventually

ALONE, CROWD = 5, 200
P50_S = 1.0


def run(ground: Ground) -> None:
    """Five jobs one after the other, then 200 in one batch."""
    ground.report.table(
        f"Start: from the commit to the interaction, {LATENCY_S * 1000:.0f} ms to the upstream",
        "database",
        "one job alone, median s",
        f"{CROWD} at once, p50 s",
        "p99 s",
    )
    for kind in ground.databases:
        with (
            ground.site(kind) as site,
            Stack(site.folder, site.database_url, simulator={"latency_s": LATENCY_S, "model_s": 600}) as stack,
        ):
            alone = [_lags_s(stack, 1)[0] for _ in range(ALONE)]
            crowd = _lags_s(stack, CROWD)
        verdict = ground.report.at_most(quantile(crowd, 0.5), P50_S, 2)
        ground.report.row(kind, share(alone, 0.5, 3), verdict, share(crowd, 0.99, 2))


def _lags_s(stack: Stack, number: int) -> list[float]:
    """From the row's `created_at` to the simulator's; the bar counts from the commit, which is later still."""
    accepted = set(jobs.submit(stack, number))
    with jobs.looking(stack) as looker:
        eventually(lambda: looker.count("queued") + looker.count("starting") == 0, within_s=120)
        rows = looker.rows("SELECT id, interaction_id, created_at FROM job")
    runs = race.upstream(stack.simulator_url)
    return [runs[row.interaction_id].created_at - jobs.seconds(row.created_at) for row in rows if row.id in accepted]
