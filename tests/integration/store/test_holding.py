"""An endpoint's deliveries in batches: held, released, replayed, cancelled, given up; and nobody waits for ever."""

from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa
from sqlmodel import Session, col

from tests import factories
from tests.factories import NOW
from tests.integration.store.conftest import Store
from worker import ids
from worker.models import Delivery, Event, Job, WebhookEndpoint
from worker.store import deliveries, endpoints, outbox, removals, waiting

MINE, LATER = "whe_mine", NOW + timedelta(days=30)
ALL = "pending", "delivered", "exhausted", "held", "cancelled"


@pytest.fixture
def job_id(store: Store) -> str:
    return store.add(status="completed", finished_at=NOW)


def add(store: Store, job_id: str, **values: Any) -> str:
    with store.database.write() as session:
        job = session.get_one(Job, job_id)
        return factories.delivery(session, job, **({"endpoint_id": MINE} | values)).id


def get(store: Store, name: str) -> Delivery:
    return store.read(lambda session: session.get_one(Delivery, name))


def states(store: Store, *names: str) -> list[str]:
    return [get(store, name).status for name in names]


def endpoint(store: Store, **values: Any) -> str:
    made = {"id": ids.new("whe"), "url": "https://hooks.example/in", "host": "hooks.example", "secret": b"sealed"}
    with store.database.write() as session:
        row = WebhookEndpoint(project_id=store.project_id, header_names=[], created_at=NOW, **(made | values))
        endpoints.add(session, row)
    return row.id


def test_holding_takes_what_waits_oldest_first_and_so_many_at_a_time(store: Store, job_id: str) -> None:
    first, second, third = (add(store, job_id) for _ in range(3))
    others = [
        add(store, job_id, claim="theirs"),
        add(store, job_id, is_asked=True),
        add(store, job_id, endpoint_id="o"),
    ]

    taken = [store.write(waiting.hold, MINE, LATER, 2) for _ in range(3)]

    assert taken == [2, 1, 0]
    assert states(store, first, second, third) == ["held"] * 3
    assert states(store, *others) == ["pending"] * 3


def test_releasing_takes_what_is_held_and_what_waited_for_a_recovery(store: Store, job_id: str) -> None:
    held = add(store, job_id, status="held", due_at=LATER, attempts=7)
    parked = add(store, job_id, due_at=None, attempts=2)
    climbing = add(store, job_id, due_at=LATER)

    taken = [store.write(waiting.release, MINE, NOW, 1) for _ in range(3)]

    assert taken == [1, 1, 0]
    found = [get(store, name) for name in (held, parked)]
    assert [(one.status, one.due_at) for one in found] == [("pending", NOW)] * 2
    assert [one.earlier for one in found] == [7, 0]
    assert get(store, climbing).due_at == LATER


def test_a_replay_goes_forward_through_what_failed_and_comes_to_an_end(store: Store, job_id: str) -> None:
    by_status = {status: add(store, job_id, status=status, attempts=1, due_at=None) for status in ALL}
    fresh = add(store, job_id, attempts=0, due_at=LATER)
    bare = add(store, job_id, status="exhausted", due_at=None)
    with store.database.write() as session:
        session.get_one(Event, session.get_one(Delivery, bare).event_id).payload = None
    after, moved = "dlv_", []

    while True:
        last = store.write(waiting.replay, MINE, after=after, until="dlv_z", now=NOW, is_asked=False, limit=1)
        if last is None:
            break
        moved.append(last)
        after = last

    assert moved == [by_status[status] for status in ("pending", "exhausted", "held")]
    assert states(store, *by_status.values()) == ["pending", "delivered", "pending", "pending", "cancelled"]
    assert (states(store, bare), states(store, fresh)) == (["exhausted"], ["pending"])


def test_cancelling_takes_what_waits_whoever_has_claimed_it(store: Store, job_id: str) -> None:
    by_status = {status: add(store, job_id, status=status, claim="theirs") for status in ALL}

    taken = [store.write(waiting.cancel, MINE, 1) for _ in range(3)]

    assert taken == [1, 1, 0]
    assert states(store, *by_status.values()) == ["cancelled", "delivered", "exhausted", "cancelled", "cancelled"]


def test_only_what_was_held_for_too_long_is_given_up(store: Store, job_id: str) -> None:
    old = add(store, job_id, status="held", due_at=NOW)
    others = [add(store, job_id, status="held", due_at=LATER), add(store, job_id)]

    assert store.write(waiting.give_up, NOW, 10) == 1

    assert states(store, old, *others) == ["exhausted", "held", "pending"]


def test_one_tries_for_all_who_wait(store: Store, job_id: str) -> None:
    first = add(store, job_id, due_at=None)
    add(store, job_id, due_at=None)

    assert store.write(waiting.probe, MINE, NOW) == 1

    due = store.write(deliveries.claim, claim="mine", now=NOW, until=LATER, limit=9)
    assert [one.id for one in due] == [first]


def test_an_endpoint_is_looked_at_by_one_at_a_time(store: Store) -> None:
    name = endpoint(store, due_at=NOW)

    def take(session: Session) -> bool:
        found = endpoints.take(session, name, NOW)
        if found is not None:
            found.due_at = None
            session.flush()
        return found is not None

    assert sorted(store.race(take, take, take)) == [False, False, True]
    assert store.read(endpoints.due, LATER, 9) == []


def test_two_who_register_at_once_do_not_exceed_the_limit(store: Store) -> None:
    endpoint(store)

    def register(session: Session) -> int:
        number = endpoints.number(session, store.project_id)
        if number < 2:
            endpoints.add(
                session,
                WebhookEndpoint(
                    id=ids.new("whe"),
                    project_id=store.project_id,
                    url="",
                    host="",
                    header_names=[],
                    secret=b"",
                    created_at=NOW,
                ),
            )
        return number

    assert sorted(store.race(register, register)) == [1, 2]
    assert store.write(endpoints.number, store.project_id) == 2


def test_a_crowd_of_events_reaches_each_endpoint_once(store: Store) -> None:
    wants, other = endpoint(store, events=["job.created"]), endpoint(store, events=["job.failed"])
    names = store.add_all([{}, {"webhook_url": "https://own.example/in", "webhook_events": ["job.created"]}, {}])

    def append(session: Session) -> None:
        found = [session.get_one(Job, name) for name in names]
        for job in found:
            job.sequence += 1
        outbox.append_all(session, found, "job.created", NOW)

    store.write(append)

    made = [(one.endpoint_id, one.url) for name in names for one in store.deliveries(name)]
    assert made.count((wants, "https://hooks.example/in")) == 3
    assert made.count((None, "https://own.example/in")) == 1
    assert other not in {name for name, _ in made}
    assert all(event.payload for name in names for event in store.events(name))


def test_events_that_nobody_hears_keep_no_body(store: Store) -> None:
    endpoint(store, events=["job.failed"])
    name = store.add()

    def append(session: Session) -> None:
        job = session.get_one(Job, name)
        job.sequence += 1
        outbox.append_all(session, [job], "job.created", NOW)

    store.write(append)

    assert [event.payload for event in store.events(name)] == [None]
    assert store.deliveries(name) == []


@pytest.mark.parametrize("status", ["held", "pending"])
def test_retention_keeps_what_waits(store: Store, job_id: str, status: str) -> None:
    kept, gone = add(store, job_id, status=status), add(store, job_id, status="delivered")
    older = partial(removals.old_deliveries, before=NOW + timedelta(days=99), limit=9)
    told = store.read(partial(removals.old_payloads, before=NOW + timedelta(days=99), limit=9))
    store.write(removals.payloads, told)

    assert (len(told), store.write(older)) == (1, 1)

    assert states(store, kept) == [status]
    assert store.read(lambda session: session.get(Delivery, gone)) is None
    left = store.read(lambda session: list(session.scalars(sa.select(col(Event.payload)))))
    assert sorted(map(bool, left)) == [False, True]
