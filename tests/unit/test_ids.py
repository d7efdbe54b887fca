"""Ids sort by the time at which they were made."""

from datetime import UTC, datetime, timedelta

from worker import ids

MOMENT = datetime(2026, 11, 21, 20, tzinfo=UTC)
NEXT = MOMENT + timedelta(milliseconds=1)


def test_ids_of_one_millisecond_sort_in_the_order_in_which_they_were_made() -> None:
    made = [ids.new("job", MOMENT) for _ in range(2000)]

    assert sorted(made) == made
    assert len(set(made)) == 2000


def test_ids_of_another_time_sort_by_it() -> None:
    late, early = ids.new("job", NEXT), ids.new("job", MOMENT)

    assert early < late
    assert ids.first("job", MOMENT) <= early < ids.first("job", MOMENT, after_ms=1) == ids.first("job", NEXT) <= late


def test_no_id_is_less_than_the_first_of_a_time_before_all_ids() -> None:
    assert ids.first("job", datetime(1960, 1, 1, tzinfo=UTC)) <= ids.first("job", datetime(1970, 1, 1, tzinfo=UTC))
