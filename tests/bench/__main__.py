"""`python -m tests.bench [benchmark …]`: runs the benchmarks named (all by default) and prints tables of figures.

`--quick` makes them small, on PostgreSQL only: everything can be tried in a few minutes, and nothing is judged.
"""

import argparse
import sys
from collections.abc import Callable

from tests import network
from tests.bench import (
    deliver,
    isolation,
    lag,
    machine,
    poll,
    recovery,
    rest,
    scale,
    settle,
    start,
    submit,
    waiting,
    watch,
    whole,
)
from tests.bench.ground import POSTGRESQL, SQLITE, Ground
from tests.bench.server import Server
from tests.bench.table import Report, say

BENCHMARKS: dict[str, Callable[[Ground], None]] = {
    "submit": submit.run,
    "start": start.run,
    "poll": poll.run,
    "settle": settle.run,
    "deliver": deliver.run,
    "isolation": isolation.run,
    "whole": whole.small,
    "whole-10k": whole.large,
    "waiting": waiting.run,
    "watch": watch.run,
    "lag": lag.run,
    "recovery": recovery.run,
    "scale": scale.run,
    "rest": rest.run,
}


def main(arguments: list[str]) -> None:
    """Measure and print."""
    asked = _asked(arguments)
    network.forbid()
    report = Report(is_quick=asked.quick)
    usual = (POSTGRESQL,) if asked.quick else (SQLITE, POSTGRESQL)
    databases = (asked.database,) if asked.database else usual
    with Server() as server:
        say(f"{machine.describe()}, PostgreSQL {server.version()}")
        ground = Ground(server, report, databases)
        for name in asked.benchmarks or BENCHMARKS:
            _run(name, ground)
    report.sum_up()


def _run(name: str, ground: Ground) -> None:
    """What breaks one benchmark must not cost the figures of the others."""
    try:
        BENCHMARKS[name](ground)
    except AssertionError as error:
        ground.report.missed += 1
        ground.report.note(f"{name} **FAILED**: {error}")


def _asked(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measures, side by side.")
    parser.add_argument("benchmarks", nargs="*", metavar="benchmark", help=", ".join(BENCHMARKS))
    parser.add_argument("--quick", action="store_true", help="small runs, without a verdict")
    parser.add_argument("--database", choices=(SQLITE, POSTGRESQL), help="this one only")
    asked = parser.parse_args(arguments)
    if unknown := set(asked.benchmarks) - BENCHMARKS.keys():
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    return asked


if __name__ == "__main__":
    main(sys.argv[1:])
