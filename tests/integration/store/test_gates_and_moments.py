"""Gates, the tickers' compare-and-set, counters, and times as the two databases keep them."""

from datetime import UTC, datetime, timedelta, timezone
from functools import partial

import pytest
import sqlalchemy as sa
from sqlmodel import Session

from tests.factories import NOW
from tests.integration.store.conftest import Store
from worker.models import Gate, Moment
from worker.store import counters, gates, moments

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


def close(store: Store, target: str = "m", *, reason: str = "throttled", until: datetime = NOW + MINUTE) -> None:
    store.write(gates.close, target, reason=reason, until=until, now=NOW, closings=1)


def gate(store: Store, target: str = "m") -> Gate:
    return store.read(gates.get, [target])[0]


def test_a_closed_gate_is_shut_until_its_time(store: Store) -> None:
    close(store)

    assert gates.is_shut(gate(store), NOW)
    assert gates.is_shut(gate(store), NOW + MINUTE - SECOND)
    assert not gates.is_shut(gate(store), NOW + MINUTE)


def test_a_refused_key_stays_shut_until_it_is_opened(store: Store) -> None:
    close(store, gates.KEY, reason=gates.UNAUTHENTICATED)

    assert gates.is_shut(gate(store, gates.KEY), NOW + MINUTE * 1000)


def test_after_its_time_one_may_try_and_the_others_wait(store: Store) -> None:
    close(store)
    lease = NOW + 2 * MINUTE

    def try_once(session: Session, now: datetime = NOW + MINUTE) -> bool:
        return gates.try_once(session, "m", now=now, until=lease)

    assert not store.write(try_once, NOW)
    assert sorted(store.race(try_once, try_once)) == [False, True]
    assert gates.is_shut(gate(store), NOW + MINUTE)
    assert store.write(try_once, lease)


def test_a_success_opens_what_was_closed_before_it_was_sent(store: Store) -> None:
    close(store)

    assert not store.write(gates.open_, ["m"], before=NOW - SECOND)
    assert store.write(gates.open_, ["m"], before=NOW)

    found = gate(store)
    assert (found.reason, found.closed_until, found.closings) == (None, None, 0)


def test_a_pause_is_not_ended_by_a_success(store: Store) -> None:
    store.write(gates.pause, "m", paused=True)
    close(store)

    store.write(gates.open_, ["m"], before=NOW + MINUTE)

    assert gates.is_shut(gate(store), NOW + MINUTE * 1000)
    store.write(gates.pause, "m", paused=False)
    assert not gates.is_shut(gate(store), NOW)


def test_a_gate_is_locked_by_one_at_a_time(store: Store) -> None:
    def bump(session: Session) -> None:
        found = gates.lock(session, "m")
        found.closings += 1
        session.add(found)

    store.race(*[bump] * 4)

    assert gate(store).closings == 4


def test_no_target_can_be_named_like_the_gates_that_are_none() -> None:
    # An id with a space is refused at submission.
    assert all(" " in name for name in (gates.KEY, gates.POLL))


def test_one_ticker_wins_and_only_when_its_time_has_come(store: Store) -> None:
    def win(session: Session, now: datetime) -> bool:
        return moments.win(session, "sweep", now=now, before=now - SECOND)

    assert sorted(store.race(*[partial(win, now=NOW)] * 3)) == [False, False, True]
    assert not store.write(win, NOW + SECOND / 2)
    later = NOW + SECOND
    assert sorted(store.race(*[partial(win, now=later)] * 3)) == [False, False, True]
    assert store.read(moments.all_moments) == {"sweep": later}


def test_what_is_noted_never_goes_back(store: Store) -> None:
    for now in (NOW, NOW + SECOND, NOW - SECOND):
        store.write(moments.note, moments.UPSTREAM, now)

    assert store.read(moments.all_moments)[moments.UPSTREAM] == NOW + SECOND


def test_counters_of_several_processes_add_up(store: Store) -> None:
    def add(session: Session) -> None:
        counters.add(session, {("a", "{}"): 1.5, ("b", '{"x": "y"}'): 2})

    store.race(*[add] * 4)
    store.write(counters.add, {})

    found = store.read(counters.all_counters)
    assert [(one.name, one.labels, one.value) for one in found] == [("a", "{}", 6), ("b", '{"x": "y"}', 8)]


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 11, 21, 12, tzinfo=UTC),
        datetime(2026, 3, 29, 2, 30, 15, 123456, tzinfo=timezone(timedelta(hours=2))),
        datetime(1970, 1, 1, tzinfo=UTC),
    ],
)
def test_a_moment_comes_back_as_it_was(store: Store, moment: datetime) -> None:
    store.write(Session.add, Moment(name="then", at=moment))

    found = store.read(lambda session: session.get_one(Moment, "then")).at

    assert found == moment
    assert found.utcoffset() == timedelta(0)


def test_moments_compare_by_time_in_the_database(store: Store) -> None:
    for name, shift in (("a", 0), ("b", 1), ("c", 1_000_000)):
        store.write(Session.add, Moment(name=name, at=NOW + timedelta(microseconds=shift)))

    later = sa.select(Moment.name).where(Moment.at > NOW).order_by(Moment.at)  # type: ignore[call-overload]
    found = store.read(lambda session: list(session.scalars(later)))

    assert found == ["b", "c"]


def test_a_naive_moment_is_refused(store: Store) -> None:
    naive = NOW.replace(tzinfo=None)

    with pytest.raises(sa.exc.StatementError, match="naive"):
        store.write(Session.add, Moment(name="then", at=naive))
