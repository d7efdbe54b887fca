"""The guarded move: what is allowed, what it writes beside the status, and that a lost race changes nothing."""

from datetime import timedelta
from functools import partial
from typing import Any

import orjson
import pytest
from sqlmodel import Session

from tests.factories import NOW
from tests.integration.store.conftest import Store
from worker.models import Job
from worker.states import EVENTS, MOVES, TERMINAL, Status, may_move
from worker.store import moves

ALLOWED = [(source, target) for source in Status for target in MOVES[source]]


def move(store: Store, job_id: str, source: Status, target: Status, **more: Any) -> Job | None:
    return store.write(moves.move, job_id, sources={source}, target=target, now=NOW, **more)


def event_of(target: Status) -> list[str]:
    return [EVENTS[target]] if target in EVENTS else []


def test_every_allowed_move_works_and_writes_its_event(store: Store) -> None:
    wrong = []

    for source, target in ALLOWED:
        job_id = store.add(status=source, due_at=NOW, deadline_at=NOW, claim="mine")
        moved = move(store, job_id, source, target)
        told = [event.type for event in store.events(job_id)]
        if moved is None or store.job(job_id).status != target or told != event_of(target):
            wrong.append((source, target, told))

    assert wrong == []


def test_every_other_move_is_refused_and_changes_nothing(store: Store) -> None:
    wrong = []

    for source in Status:
        job_id = store.add(status=source)
        with store.database.write() as session:
            for target in set(Status) - MOVES[source]:
                with pytest.raises(ValueError, match="no job moves from"):
                    moves.move(session, job_id, sources={source}, target=target, now=NOW)
        if store.job(job_id).status != source or store.events(job_id):
            wrong.append(source)

    assert wrong == []


def test_a_move_from_another_status_than_the_jobs_does_nothing(store: Store) -> None:
    wrong = []

    for present in Status:
        job_id = store.add(status=present)
        with store.database.write() as session:
            for source, target in ALLOWED:
                if source != present and moves.move(session, job_id, sources={source}, target=target, now=NOW):
                    wrong.append((present, source, target))
        if store.job(job_id).status != present or store.events(job_id):
            wrong.append((present, present, present))

    assert wrong == []


def test_of_two_who_move_the_same_job_exactly_one_wins(store: Store) -> None:
    wrong = []

    for source, target in ALLOWED:
        job_id = store.add(status=source)
        both = partial(moves.move, job_id=job_id, sources={source}, target=target, now=NOW)
        outcomes = store.race(both, both)
        job = store.job(job_id)
        told = [event.type for event in store.events(job_id)]
        if sum(one is not None for one in outcomes) != 1 or job.status != target or told != event_of(target):
            wrong.append((source, target, told))

    assert wrong == []


@pytest.mark.parametrize(
    ("source", "one", "other"),
    [
        ("in_progress", "completed", "cancelling"),
        ("in_progress", "completed", "failed"),
        ("cancelling", "completed", "expired"),
        ("starting", "in_progress", "unconfirmed"),
        ("unconfirmed", "in_progress", "queued"),
        ("queued", "starting", "cancelled"),
        ("requires_action", "queued", "expired"),
        ("scheduled", "queued", "cancelled"),
    ],
)
def test_of_two_different_moves_one_wins_and_the_loser_leaves_no_trace(
    store: Store, source: str, one: str, other: str
) -> None:
    for _ in range(5):
        job_id = store.add(status=source, webhook_url="https://hooks.example/in")

        def to(target: str, session: Session, job_id: str = job_id) -> Job | None:
            sources, values = {Status(source)}, {"thought": target}
            return moves.move(session, job_id, sources=sources, target=Status(target), now=NOW, values=values)

        outcomes = store.race(partial(to, one), partial(to, other))

        winner = [target for target, moved in zip((one, other), outcomes, strict=True) if moved]
        assert len(winner) == 1
        assert (store.job(job_id).status, store.job(job_id).thought) == (winner[0], winner[0])
        told = [event.type for event in store.events(job_id)]
        assert told == event_of(Status(winner[0]))
        assert len(store.deliveries(job_id)) == (1 if told and told[0] != "job.started" else 0)


def test_a_terminal_job_is_never_due_and_has_ended(store: Store) -> None:
    for target in TERMINAL:
        job_id = store.add(status="in_progress", due_at=NOW, claim="mine", deadline_at=NOW, required_action={"a": 1})

        move(store, job_id, Status.IN_PROGRESS, target)

        job = store.job(job_id)
        assert (job.due_at, job.claim, job.deadline_at, job.required_action) == (None, None, None, None)
        assert job.finished_at == NOW


def test_a_move_under_another_claim_does_nothing(store: Store) -> None:
    job_id = store.add(status="in_progress", claim="theirs")

    moved = move(store, job_id, Status.IN_PROGRESS, Status.COMPLETED, claim="mine")

    assert moved is None
    assert store.job(job_id).status == "in_progress"
    assert store.events(job_id) == []


def test_a_change_under_another_claim_or_in_another_status_does_nothing(store: Store) -> None:
    job_id = store.add(status="in_progress", claim="theirs")

    def change(status: Status, claim: str) -> Job | None:
        return store.write(moves.change, job_id, statuses={status}, claim=claim, values={"thought": "mine"})

    assert change(Status.IN_PROGRESS, "mine") is None
    assert change(Status.QUEUED, "theirs") is None
    assert store.job(job_id).thought is None
    assert change(Status.IN_PROGRESS, "theirs") is not None


def test_events_are_numbered_without_gaps(store: Store) -> None:
    job_id = store.add(status="starting")

    for target in (Status.IN_PROGRESS, Status.REQUIRES_ACTION, Status.QUEUED, Status.STARTING, Status.COMPLETED):
        move(store, job_id, Status(store.job(job_id).status), target)

    assert [event.sequence for event in store.events(job_id)] == [1, 2, 3]


def test_the_delivery_is_written_with_its_event_and_rolled_back_with_it(store: Store) -> None:
    job_id = store.add(status="in_progress", webhook_url="https://hooks.example/in?token=1")

    def move_and_die(session: Session) -> None:
        moves.move(session, job_id, sources={Status.IN_PROGRESS}, target=Status.COMPLETED, now=NOW)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        store.write(move_and_die)

    assert (store.job(job_id).status, store.events(job_id), store.deliveries(job_id)) == ("in_progress", [], [])

    move(store, job_id, Status.IN_PROGRESS, Status.COMPLETED)

    (delivery,) = store.deliveries(job_id)
    assert (delivery.status, delivery.host, delivery.due_at) == ("pending", "hooks.example", NOW)
    (event,) = store.events(job_id)
    assert delivery.event_id == event.id
    assert orjson.loads(event.payload or b"")["data"]["status"] == "completed"


@pytest.mark.parametrize(
    ("wanted", "told"),
    [(None, ["job.completed"]), (["job.started"], ["job.started"]), ([], [])],
)
def test_only_what_is_subscribed_is_delivered(store: Store, wanted: list[str] | None, told: list[str]) -> None:
    job_id = store.add(status="starting", webhook_url="https://hooks.example/in", webhook_events=wanted)

    move(store, job_id, Status.STARTING, Status.IN_PROGRESS)
    move(store, job_id, Status.IN_PROGRESS, Status.COMPLETED)

    heard = [event.type for event in store.events(job_id) if event.payload is not None]
    assert heard == told
    assert len(store.deliveries(job_id)) == len(told)


def test_the_payload_shows_the_job_as_it_was_then(store: Store) -> None:
    job_id = store.add(status="in_progress", webhook_url="https://hooks.example/in")
    expires_at = NOW + timedelta(days=30)

    move(
        store,
        job_id,
        Status.IN_PROGRESS,
        Status.COMPLETED,
        outcome={"output_text": "Hello."},
        result_expires_at=expires_at,
    )

    body = orjson.loads(store.events(job_id)[0].payload or b"")
    assert (body["type"], body["sequence"]) == ("job.completed", 1)
    assert (body["data"]["output_text"], body["data"]["finished_at"]) == ("Hello.", "2026-11-21T12:00:00.000Z")


def test_terminal_statuses_lead_nowhere() -> None:
    assert not any(may_move(source, target) for source in TERMINAL for target in Status)
