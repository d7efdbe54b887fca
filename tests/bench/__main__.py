"""Runs the benchmarks named (all by default), on SQLite and PostgreSQL, and prints one line for each."""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests import network
from tests.bench import machine, poll, rest, start, submit, whole
from tests.postgres import Postgres

BENCHMARKS: dict[str, Callable[[Path, str], str]] = {
    "submit": submit.run,
    "start": start.run,
    "poll": poll.run,
    "rest": rest.run,
    "whole": whole.small,
    "whole-10k": whole.large,
}


def main(names: list[str]) -> None:
    """Measure and print."""
    network.forbid()
    print(machine.describe(), flush=True)
    with Postgres() as server:
        for name in names or BENCHMARKS:
            for kind in ("sqlite", "postgresql") if name != "rest" else ("sqlite",):
                url = server.fresh() if kind == "postgresql" else ""
                with tempfile.TemporaryDirectory(prefix="nightdesk-bench-") as folder:
                    print(f"{name:8} {kind:10} {BENCHMARKS[name](Path(folder), url)}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
