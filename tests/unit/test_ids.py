"""Ids sort by the time at which they were made."""

from worker import ids


def test_ids_of_one_millisecond_sort_in_the_order_in_which_they_were_made() -> None:
    made = [ids.new("job", 1_795_000_000_000) for _ in range(2000)]

    assert sorted(made) == made
    assert len(set(made)) == 2000


def test_ids_of_another_time_sort_by_it() -> None:
    late, early = ids.new("job", 1_795_000_000_001), ids.new("job", 1_795_000_000_000)

    assert early < late
    assert ids.first("job", 1_795_000_000_000) <= early < ids.first("job", 1_795_000_000_001) <= late
