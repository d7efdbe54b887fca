"""A slice of the chaos suite: real processes, killed and cut off in one short run, and then the books."""

from collections import Counter
from pathlib import Path

from tests.chaos.run import run
from tests.chaos.scenarios import SLICE
from tests.postgres import Postgres

SEED = 20
ORDERS = 60


def test_nothing_is_lost_doubled_or_stuck_whatever_dies(postgres: Postgres, tmp_path: Path) -> None:
    report = run(SLICE, tmp_path, postgres=postgres, seed=SEED, jobs=ORDERS)

    assert report.violations == []
    assert report.jobs >= ORDERS
    assert report.lost_answers > 0, "the faults did not bite"
    assert Counter(report.ended)["completed"] > ORDERS / 2
