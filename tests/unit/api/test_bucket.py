"""Rates: what a bucket gives, who is slowed, and what one process makes of what the others did."""

import pytest

from api.bucket import Bucket
from api.errors import RateLimited
from api.rates import READ, SUBMIT, Rates
from api.strangers import MAX_ADDRESSES, TOGETHER, Strangers, place


def taken(bucket: Bucket, now: float, tries: int = 100) -> int:
    return sum(bucket.take(now) for _ in range(tries))


def test_a_bucket_gives_a_minute_s_worth_at_once_and_then_by_the_second() -> None:
    bucket = Bucket(60, 60, 0.0)

    assert taken(bucket, 0.0) == 60
    assert taken(bucket, 0.9) == 0
    assert taken(bucket, 10.0) == 10
    assert taken(bucket, 1000.0) == 60


def test_a_bucket_tells_when_it_is_worth_another_try() -> None:
    bucket = Bucket(6, 6, 0.0)
    assert (taken(bucket, 0.0), bucket.next_s(), bucket.full_s()) == (6, 10, 60)

    assert not bucket.take(9.9)
    assert bucket.next_s() == 1
    assert bucket.take(10.0)


def test_a_clock_that_stands_still_gives_nothing() -> None:
    bucket = Bucket(60, 60, 100.0)
    taken(bucket, 100.0)

    assert taken(bucket, 99.0) == 0
    assert taken(bucket, 100.5) == 0


def test_reads_and_submissions_of_each_key_are_counted_apart() -> None:
    rates = Rates({READ: 2, SUBMIT: 1})

    assert rates.take("key_1", SUBMIT, 0.0)
    with pytest.raises(RateLimited) as refused:
        rates.take("key_1", SUBMIT, 0.0)

    assert (refused.value.limit, refused.value.retry_after_s) == (1, 60)
    assert [rates.take("key_1", READ, 0.0) for _ in range(2)][-1]
    assert rates.take("key_2", SUBMIT, 0.0)


def test_a_standing_tells_what_is_left_and_when_all_is_free_again() -> None:
    rates = Rates({READ: 60, SUBMIT: 0})

    rates.take("key_1", READ, 0.0)
    standing = rates.take("key_1", READ, 0.0)

    assert standing is not None
    assert (standing.limit, standing.remaining, standing.reset_s) == (60, 58, 2)
    assert rates.take("key_1", SUBMIT, 0.0) is None


def test_what_other_processes_let_pass_is_taken_off() -> None:
    rates = Rates({READ: 10, SUBMIT: 0})
    rates.take("key_1", READ, 0.0)
    (name,) = amounts = rates._told(7)
    assert amounts == {name: 1}

    rates.take("key_1", READ, 0.0)
    rates._hear(amounts, {name: 5}, 7, 0.0)

    assert rates._told(7) == {name: 1}
    left = rates.take("key_1", READ, 0.0)
    assert left is not None
    assert left.remaining == 3
    rates._hear({name: 1}, {name: 6}, 7, 0.0)
    again = rates.take("key_1", READ, 0.0)
    assert again is not None
    assert again.remaining == 2


def test_a_new_minute_is_counted_anew() -> None:
    rates = Rates({READ: 10, SUBMIT: 0})
    rates.take("key_1", READ, 0.0)
    (old,) = amounts = rates._told(7)
    rates._hear(amounts, {old: 4}, 7, 0.0)

    (new,) = rates._told(8)
    rates._hear({new: 0}, {new: 2}, 8, 0.0)

    left = rates.take("key_1", READ, 0.0)
    assert old != new
    assert left is not None
    assert left.remaining == 10 - 1 - 3 - 2 - 1


def test_what_was_let_pass_while_redis_was_away_is_never_told() -> None:
    rates = Rates({READ: 10, SUBMIT: 0})
    for _ in range(5):
        rates.take("key_1", READ, 0.0)
    (name,) = amounts = rates._told(7)
    rates._hear(amounts, None, 7, 0.0)

    rates.take("key_1", READ, 0.0)

    assert rates._told(7) == {name: 1}


def test_accounts_that_are_as_new_are_forgotten() -> None:
    rates = Rates({READ: 60, SUBMIT: 0})
    rates.take("key_1", READ, 0.0)
    rates._hear(rates._told(0), {}, 0, 0.0)
    rates._forget(2.0)
    assert rates._accounts, "what was not told yet is kept"

    amounts = rates._told(0)
    rates._hear(amounts, amounts, 0, 2.0)
    rates._forget(4.0)

    assert not rates._accounts


def test_whoever_guesses_is_slowed_and_others_are_not() -> None:
    strangers = Strangers(3)
    for _ in range(3):
        strangers.admit("10.0.0.1", 0.0)

    with pytest.raises(RateLimited) as refused:
        strangers.admit("10.0.0.1", 0.0)

    assert refused.value.retry_after_s == 20
    strangers.admit("10.0.0.2", 0.0)
    strangers.admit("10.0.0.1", 20.0)


def test_good_keys_cost_nothing() -> None:
    strangers = Strangers(1)

    for _ in range(10):
        strangers.admit("10.0.0.1", 0.0)
        strangers.pardon("10.0.0.1", 0.0)


def test_all_together_are_slowed_too() -> None:
    strangers = Strangers(1)
    for number in range(TOGETHER):
        strangers.admit(f"10.0.0.{number}", 0.0)

    with pytest.raises(RateLimited):
        strangers.admit("10.0.1.1", 0.0)


def test_no_more_addresses_are_remembered_than_have_room() -> None:
    strangers = Strangers(MAX_ADDRESSES)

    for number in range(MAX_ADDRESSES + 10):
        strangers.admit(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 0.0)

    assert len(strangers._seen) == MAX_ADDRESSES


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
        (None, "not an address", True),
    ],
)
def test_an_ipv6_network_is_one_address(one: str | None, other: str, *, is_same: bool) -> None:
    assert (place(one) == place(other)) == is_same
