"""Schedules: how they grow, where they stop, and which way their jitter goes."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as some

from worker.flow.gate import next_quota_day
from worker.retry import REFUSED, SETTLE, UNREACHABLE, Backoff, rung
from worker.settings import DEFAULT_LADDER_S

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
CHANCE = some.floats(0, 1, exclude_max=True)


@pytest.mark.parametrize(
    ("backoff", "waits"),
    [
        (Backoff(5, 1.4, 30), [5, 7, 9.8, 13.72, 19.208, 26.8912, 30, 30]),
        (Backoff(1, 1.5, 10), [1, 1.5, 2.25, 3.375, 5.0625, 7.59375, 10, 10]),
        (REFUSED, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]),
        (SETTLE, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]),
        (UNREACHABLE, [30, 30, 30]),
        (Backoff(5, 2, 1), [1, 1]),
    ],
)
def test_a_backoff_starts_small_grows_and_stops(backoff: Backoff, waits: list[float]) -> None:
    assert [backoff.wait_s(count, 0) for count in range(len(waits))] == pytest.approx(waits)


@given(count=some.integers(0, 10**9), chance=CHANCE, factor=some.floats(1, 1e6), cap_s=some.floats(0.1, 1e6))
def test_a_backoff_never_exceeds_its_cap_and_jitter_only_shortens(
    count: int, chance: float, factor: float, cap_s: float
) -> None:
    backoff = Backoff(1, factor, cap_s)

    wait_s = backoff.wait_s(count, chance)

    assert 0.9 * backoff.wait_s(count, 0) <= wait_s <= backoff.wait_s(count, 0) <= cap_s


def test_the_next_time_is_so_much_later() -> None:
    assert Backoff(5, 2, 60).next_time(1, NOW, 0) == NOW + timedelta(seconds=10)


@given(attempt=some.integers(1, 10), chance=CHANCE)
def test_a_rung_is_never_early_and_a_fifth_late_at_most(attempt: int, chance: float) -> None:
    planned_s = DEFAULT_LADDER_S[attempt - 1]

    at = rung(DEFAULT_LADDER_S, attempt, NOW, chance)

    assert at is not None
    assert planned_s <= (at - NOW).total_seconds() <= planned_s * 1.2


def test_past_its_end_a_ladder_has_no_rung() -> None:
    assert rung(DEFAULT_LADDER_S, 11, NOW, 0) is None
    assert rung((), 1, NOW, 0) is None


@pytest.mark.parametrize(
    ("now", "then"),
    [
        ("2026-07-01T06:59:59", "2026-07-01T07:00:00"),
        ("2026-07-01T07:00:00", "2026-07-02T07:00:00"),
        ("2026-12-01T08:00:00", "2026-12-02T08:00:00"),
        ("2026-11-01T07:30:00", "2026-11-02T08:00:00"),
        ("2026-03-08T08:30:00", "2026-03-09T07:00:00"),
    ],
)
def test_quotas_are_reset_at_midnight_in_california_also_when_its_clocks_change(now: str, then: str) -> None:
    assert next_quota_day(datetime.fromisoformat(now + "Z")) == datetime.fromisoformat(then + "Z")
