"""The webhook outbox: claims, fenced records, putting back, sending again."""

from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlmodel import Session

from tests import factories
from tests.factories import NOW
from tests.integration.store.conftest import Store
from worker.models import Delivery, Event, Job
from worker.store import deliveries, outbox
from worker.store.deliveries import Attempt, Outcome

UNTIL = NOW + timedelta(seconds=20)
LATER = NOW + timedelta(seconds=1)


@pytest.fixture
def job_id(store: Store) -> str:
    return store.add(status="completed", finished_at=NOW)


def add(store: Store, job_id: str, **values: Any) -> str:
    with store.database.write() as session:
        job = session.get_one(Job, job_id)
        return factories.delivery(session, job, **values).id


def claim(
    session: Session, name: str = "mine", limit: int = 64, skip: deliveries.Skip = deliveries.NOBODY
) -> list[str]:
    due = deliveries.claim(session, claim=name, now=NOW, until=UNTIL, limit=limit, skip=skip)
    return [one.id for one in due]


def get(store: Store, name: str) -> Delivery:
    return store.read(lambda session: session.get_one(Delivery, name))


def test_only_pending_deliveries_that_are_due_are_claimed(store: Store, job_id: str) -> None:
    due = add(store, job_id)
    add(store, job_id, due_at=LATER)
    for status in ("delivered", "exhausted", "held", "cancelled"):
        add(store, job_id, status=status)

    (one,) = store.write(deliveries.claim, claim="mine", now=NOW, until=UNTIL, limit=64)

    assert (one.id, one.number, one.body) == (due, 1, b'{"type":"job.completed"}')
    assert (get(store, due).claim, get(store, due).due_at) == ("mine", UNTIL)


def test_two_senders_never_share_a_delivery(store: Store, job_id: str) -> None:
    everyone = {add(store, job_id) for _ in range(30)}

    taken = store.race(*[partial(claim, name=name, limit=10) for name in ("a", "b", "c")])

    assert sum(map(len, taken)) == len(set().union(*taken))
    assert set().union(*taken, store.write(claim)) == everyone


def test_lanes_that_are_skipped_leave_the_room_to_others(store: Store, job_id: str) -> None:
    for _ in range(5):
        dead = add(store, job_id, host="dead", due_at=NOW - timedelta(days=1))
    other, project_id = add(store, job_id), get(store, dead).project_id
    skip = deliveries.Skip({("prj_other", "example.com"), (project_id, "dead")})

    assert store.write(claim, limit=1, skip=skip) == [other]


def test_a_record_under_an_old_claim_changes_nothing(store: Store, job_id: str) -> None:
    name, other = add(store, job_id), add(store, job_id)
    store.write(claim)
    delivered, tried = (
        Outcome(name, "mine", "delivered", 1, None, NOW),
        Outcome(other, "mine", "pending", 1, LATER),
    )

    assert store.write(deliveries.record, [delivered._replace(claim="old")]) == set()
    assert get(store, name).status == "pending"
    assert store.write(deliveries.record, [delivered, tried]) == {name, other}
    assert store.write(deliveries.record, [delivered, tried]) == set()
    assert [get(store, one).status for one in (name, other)] == ["delivered", "pending"]
    assert [get(store, one).due_at for one in (name, other)] == [None, LATER]
    assert [get(store, one).delivered_at for one in (name, other)] == [NOW, None]


def test_what_is_put_back_is_due_again(store: Store, job_id: str) -> None:
    mine, theirs = add(store, job_id), add(store, job_id)
    store.write(claim)

    def put_back(claimed_by: str, *names: str) -> None:
        store.write(deliveries.put_back, names, claim=claimed_by, due_at=LATER)

    put_back("mine", mine)
    put_back("theirs", theirs)

    assert (get(store, mine).claim, get(store, mine).due_at) == (None, LATER)
    assert (get(store, theirs).claim, get(store, theirs).due_at) == ("mine", UNTIL)


def test_a_delivery_is_sent_again_unless_cancelled_or_without_its_payload(store: Store, job_id: str) -> None:
    delivered, cancelled, bare = (
        add(store, job_id, status=status, due_at=None) for status in ("delivered", "cancelled", "exhausted")
    )
    with store.database.write() as session:
        session.get_one(Event, session.get_one(Delivery, bare).event_id).payload = None

    def again(name: str) -> bool:
        return store.write(deliveries.again, name, NOW) is not None

    assert [again(name) for name in (delivered, cancelled, bare)] == [True, False, False]
    assert (get(store, delivered).status, get(store, delivered).due_at) == ("pending", NOW)


def test_of_many_attempts_the_last_are_kept(store: Store, job_id: str) -> None:
    name, other = add(store, job_id), add(store, job_id)

    def attempt(delivery_id: str, number: int) -> Attempt:
        return Attempt(delivery_id, number, NOW, "http", 500, 1, "", None)

    store.write(deliveries.log, [attempt(other, 1)])
    for number in range(1, deliveries.MAX_LOGGED + 4):
        store.write(deliveries.log, [attempt(name, number)])

    numbers = [one.number for one in store.read(deliveries.attempts, [name])]
    assert numbers == list(range(4, deliveries.MAX_LOGGED + 4))
    assert len(store.read(deliveries.attempts, [other])) == 1


def test_counting_stops_at_the_limit(store: Store, job_id: str) -> None:
    for _ in range(3):
        add(store, job_id)

    assert [store.read(deliveries.due_count, NOW, limit) for limit in (1, 2, 9)] == [1, 2, 3]


def urls(store: Store, job_id: str, event_type: str) -> list[str]:
    def append(session: Session) -> None:
        job = session.get_one(Job, job_id)
        job.sequence += 1
        outbox.append(session, job, event_type, NOW)

    store.write(append)
    found = store.read(partial(deliveries.of_job, job_id=job_id, before=None, limit=10))
    return sorted(one.url for one in found)


@pytest.mark.parametrize(
    ("event_type", "expected"),
    [
        ("job.started", ["https://a.example/own"]),
        ("job.completed", ["https://a.example/shared", "https://b.example/more"]),
        ("job.created", []),
    ],
)
def test_an_event_goes_to_everybody_whom_the_job_names_and_to_nobody_twice(
    store: Store, event_type: str, expected: list[str]
) -> None:
    own = "https://a.example/own" if event_type == "job.started" else "https://a.example/shared"
    config = {"uris": ["https://a.example/shared", "https://b.example/more", "https://b.example/more"]}

    job_id = store.add(webhook_url=own, webhook_events=["job.started", "job.completed"], webhook_config=config)

    assert urls(store, job_id, event_type) == expected
