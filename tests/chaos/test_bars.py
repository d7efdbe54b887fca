"""The bars themselves: what moves and ends in time meets them, what does not is named, with the figures."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.chaos import bars
from tests.chaos.bars import FLUSHED, KILLED, LONGEST_S
from tests.chaos.cooked import JOB, NOW, good, job, row
from tests.chaos.evidence import Evidence
from tests.chaos.messages import DEAF
from tests.chaos.recovery import Recovery, Stand
from tests.chaos.site import Deed
from tests.chaos.weather import KEY_BACK
from worker.ticker import DEAF_EXIT

AT = NOW.timestamp()


def struck(what: str, status: str, *, moved_s: float | None, ended_s: float, due_s: float = 0.0) -> Evidence:
    """One job that stood so when the fault struck, moved and ended so much later."""
    recovery = Recovery(what, AT, {JOB: Stand(status, AT + due_s, (status, 0, 1, 1))})
    if moved_s is not None:
        recovery.moved_at[JOB] = AT + moved_s
    return replace(good(), recoveries=[recovery], jobs={JOB: job(finished_at=NOW + timedelta(seconds=ended_s))})


@pytest.mark.parametrize(
    ("status", "moved_s", "ended_s"), [("in_progress", 59, LONGEST_S + 19), ("starting", 50, LONGEST_S + 59)]
)
def test_a_job_that_moves_and_ends_in_time_meets_the_bar(status: str, moved_s: float, ended_s: float) -> None:
    measured = bars.recovered(struck(KILLED, status, moved_s=moved_s, ended_s=ended_s))

    assert measured.violations == []
    assert f"SIGKILL of every worker: 1 {status} moved within {moved_s:.1f} s, ended by D +" in measured.text


@pytest.mark.parametrize(
    ("what", "status", "moved_s", "ended_s", "said"),
    [
        (KILLED, "in_progress", 61, 15, "moved 61.0 s after it"),
        (KILLED, "in_progress", None, 15, "moved inf s after it"),
        (KILLED, "in_progress", 10, LONGEST_S + 21, "over D + 20 s"),
        (KILLED, "unconfirmed", 10, LONGEST_S + 61, "over D + 60 s"),
        (FLUSHED, "queued", 6, 15, "moved 6.0 s after it"),
    ],
)
def test_a_job_that_is_late_is_named(what: str, status: str, moved_s: float | None, ended_s: float, said: str) -> None:
    measured = bars.recovered(struck(what, status, moved_s=moved_s, ended_s=ended_s))

    assert [violation.text for violation in measured.violations if said in violation.text]


def test_a_poll_planned_for_later_is_late_only_after_that() -> None:
    on_time = struck(FLUSHED, "in_progress", moved_s=12, due_s=9, ended_s=15)
    overdue = struck(FLUSHED, "in_progress", moved_s=15, due_s=9, ended_s=15)

    assert bars.recovered(on_time).violations == []
    assert len(bars.recovered(overdue).violations) == 1


def test_a_fault_that_nobody_looked_at_proves_nothing() -> None:
    assert bars.recovered(good()).violations


def _diary(*deeds: tuple[float, str]) -> Evidence:
    return replace(good(), diary=[Deed(AT + at, what) for at, what in deeds])


def test_a_deaf_worker_must_be_replaced_in_time() -> None:
    again = f"worker-0 started again after status {DEAF_EXIT}"

    assert bars.replaced(_diary((0, DEAF), (35, again))).violations == []
    assert bars.replaced(_diary((0, DEAF), (61, again))).violations
    assert bars.replaced(_diary((0, DEAF), (35, "worker-0 started again after status 1"))).violations


@pytest.mark.parametrize(("after_s", "is_late"), [(30, False), (40, True), (-1, True)])
def test_creates_must_go_on_soon_after_the_key_works_again(after_s: float, *, is_late: bool) -> None:
    sent_at = datetime.fromtimestamp(AT + after_s, UTC)
    evidence = replace(_diary((0, KEY_BACK)), interactions={JOB: [row(sent_at=sent_at)]})

    assert bool(bars.resumed(evidence).violations) == is_late
