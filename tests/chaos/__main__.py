"""`python -m tests.chaos [scenario …]`: plays the scenarios named (all by default), a row of a table for each.

Exits with 1 when a promise was broken; the folder with logs, diary and database of that run is kept and named.
"""

import argparse
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path
from random import SystemRandom

from tests import network
from tests.chaos import report
from tests.chaos.report import Report
from tests.chaos.run import run
from tests.chaos.scenario import POSTGRESQL, SQLITE
from tests.chaos.scenarios import SCENARIOS
from tests.postgres import Postgres

SHOWN = 20
say = partial(print, flush=True)


def main(arguments: list[str]) -> int:
    """Play and print; gives back the exit status."""
    asked = _asked(arguments)
    network.forbid()
    reports = list[Report]()
    say(f"seed {asked.seed}; {report.LEGEND}\n\n{report.head()}")
    with Postgres() as server:
        for name in asked.scenarios or SCENARIOS:
            for database in [asked.database] if asked.database else SCENARIOS[name].databases:
                reports.append(_play(name, database, server, asked))
    say(report.total(reports).row("total", f"{len(reports)} runs"))
    return 1 if any(one.violations for one in reports) else 0


def _asked(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Breaks an installation, checks it.")
    parser.add_argument("scenarios", nargs="*", metavar="scenario", help=", ".join(SCENARIOS))
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(1_000_000))
    parser.add_argument("--jobs", type=int, help="orders of each run, instead of the scenario's own number")
    parser.add_argument("--database", choices=(SQLITE, POSTGRESQL), help="this one only")
    parser.add_argument("--keep", action="store_true", help="keep the folders of good runs, too")
    asked = parser.parse_args(arguments)
    if unknown := set(asked.scenarios) - SCENARIOS.keys():
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    return asked


def _play(name: str, database: str, server: Postgres, asked: argparse.Namespace) -> Report:
    scenario, folder = SCENARIOS[name], Path(tempfile.mkdtemp(prefix=f"nightdesk-chaos-{name}-"))
    postgres = server if database == POSTGRESQL else None
    played = run(scenario, folder, postgres=postgres, seed=asked.seed, jobs=asked.jobs or scenario.jobs)
    say(played.row(name, database))
    _tell(played, folder, keep=asked.keep)
    return played


def _tell(played: Report, folder: Path, *, keep: bool) -> None:
    for violation in played.violations[:SHOWN]:
        say(f"    {violation.kind}: {violation.text}")
    if len(played.violations) > SHOWN:
        say(f"    and {len(played.violations) - SHOWN} more")
    for death in played.own_deaths if played.violations else ():
        say(f"    {death}")
    if played.violations or keep:
        say(f"    kept: {folder}")
    else:
        shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
