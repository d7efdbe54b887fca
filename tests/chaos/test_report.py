"""The table of a chaos run: a row for each run, and a total that sums every broken promise."""

from collections import Counter

from tests.chaos import books, report
from tests.chaos.books import Violation
from tests.chaos.report import COLUMNS, Report


def played(*kinds: str, jobs: int = 1_200) -> Report:
    return Report(
        jobs=jobs,
        ended=Counter(completed=jobs - 1, cancelled=1),
        faults=7,
        spoiled=40,
        cut_off=3,
        lost_answers=2,
        orphans=0,
        longest_queue=17,
        took_s=61.4,
        violations=[Violation(kind, "what was wrong") for kind in kinds],
        measured="some figures",
    )


def cells(row: str) -> dict[str, str]:
    found = [cell.strip() for cell in row.strip("|").split("|")]
    return dict(zip([*COLUMNS, "measured"], found, strict=True))


def test_a_row_tells_what_was_done_and_what_broke() -> None:
    row = cells(played(books.LOST, books.EVENT, books.EVENT, books.CREATE, "late", "seen").row("talks", "sqlite"))

    assert row == {
        "scenario": "talks",
        "database": "sqlite",
        "jobs": "1,200",
        "completed": "1,199",
        "faults": "7",
        "spoiled": "40",
        "lost": "1",
        "events": "2",
        "creates": "1",
        "other": "2",
        "queue": "17",
        "s": "61",
        "measured": "1 cancelled; 3 requests of clients cut off; 2 answers to creates never came; some figures",
    }


def test_the_total_sums_all_runs() -> None:
    row = cells(report.total([played(books.CREATE), played("late"), played(jobs=10)]).row("total", "3 runs"))

    assert (row["jobs"], row["completed"], row["faults"], row["queue"], row["s"]) == (
        "2,410",
        "2,407",
        "21",
        "17",
        "184",
    )
    assert (row["lost"], row["events"], row["creates"], row["other"]) == ("0", "0", "1", "1")


def test_the_head_has_a_column_for_every_cell() -> None:
    names, line = report.head().splitlines()

    assert list(cells(names)) == [*COLUMNS, "measured"]
    assert line.count("---") == len(COLUMNS) + 1
