"""Claims: who is due, that no row has two owners, and that what is recorded under an old claim changes nothing."""

from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlmodel import Session

from tests.factories import NOW
from tests.integration.store.conftest import Store
from worker.states import Status
from worker.store import claims, moves, starts

UNTIL = NOW + timedelta(seconds=15)
LATER = NOW + timedelta(seconds=1)
RUNNING: dict[str, Any] = {"status": "in_progress", "due_at": NOW, "interaction_id": "v1_a"}


def take(store: Store, claim: str = "mine", now: datetime = NOW, limit: int = 500) -> list[str]:
    until = now + timedelta(seconds=15)
    rows = store.write(claims.polls, claim=claim, now=now, until=until, limit=limit)
    return [row.id for row in rows]


def polled(job_id: str, **values: Any) -> dict[str, Any]:
    """A row as a poll records it."""
    fields: dict[str, Any] = dict.fromkeys(claims.POLL_FIELDS)
    return fields | {"id": job_id, "due_at": LATER, "upstream_status": "in_progress", "missing": 0} | values


def record(store: Store, claim: str, *rows: dict[str, Any]) -> set[str]:
    return store.write(claims.record_polls, claim=claim, now=NOW, rows=list(rows))


def test_only_running_jobs_that_are_due_are_claimed_the_longest_due_first(store: Store) -> None:
    late = store.add(**RUNNING | {"due_at": NOW - timedelta(seconds=5)})
    due = store.add(**RUNNING)
    answered = store.add(**RUNNING | {"status": "cancelling", "cancel_answered_at": NOW, "due_at": NOW})
    for values in (
        RUNNING | {"due_at": LATER},
        RUNNING | {"due_at": None},
        RUNNING | {"status": "cancelling"},
        *({"status": status, "due_at": NOW} for status in ("queued", "starting", "unconfirmed", "completed")),
    ):
        store.add(**values)

    first, rest = take(store, limit=1), take(store)

    assert first == [late]
    assert set(rest) == {due, answered}


def test_a_claim_is_a_fence_and_a_time_when_the_row_falls_due_again(store: Store) -> None:
    job_id = store.add(**RUNNING)

    assert take(store) == [job_id]

    job = store.job(job_id)
    assert (job.claim, job.due_at, job.was_due_at) == ("mine", UNTIL, NOW)
    assert take(store, "theirs") == []
    assert take(store, "theirs", now=UNTIL) == [job_id]


def test_two_claimers_never_share_a_row(store: Store) -> None:
    everyone = set(store.add_all([dict(RUNNING) for _ in range(60)]))

    def claim(session: Session, name: str) -> list[str]:
        rows = claims.polls(session, claim=name, now=NOW, until=UNTIL, limit=20)
        return [row.id for row in rows]

    taken = store.race(*[partial(claim, name=name) for name in ("a", "b", "c")])

    assert sum(map(len, taken)) == len(set().union(*taken))
    # On PostgreSQL whoever comes second skips what is locked; it is free again for the next.
    assert set().union(*taken, take(store)) == everyone


def test_what_is_recorded_under_an_old_claim_changes_nothing(store: Store) -> None:
    job_id = store.add(**RUNNING)
    take(store, "old")
    take(store, "new", now=UNTIL)

    assert record(store, "old", polled(job_id, thought="old")) == set()
    assert (store.job(job_id).thought, store.job(job_id).polls, store.job(job_id).claim) == (None, 0, "new")

    assert record(store, "new", polled(job_id, thought="new")) == {job_id}
    job = store.job(job_id)
    assert (job.thought, job.polls, job.claim, job.due_at, job.last_polled_at) == ("new", 1, None, LATER, NOW)


def test_a_job_that_ended_meanwhile_is_not_recorded_as_running(store: Store) -> None:
    ended, running = store.add(**RUNNING | {"claim": "mine", "status": "failed"}), store.add(**RUNNING)
    take(store)

    assert record(store, "mine", polled(ended), polled(running)) == {running}
    assert store.job(ended).upstream_status is None


def test_every_field_of_a_poll_is_recorded_as_it_is(store: Store) -> None:
    job_id = store.add(**RUNNING)
    take(store)
    moment = NOW + timedelta(microseconds=123456)
    given = polled(
        job_id,
        due_at=moment,
        upstream_status='odd\' "status" \\ ∂ 🜁',
        thought="a\nb\tc {} [] null \u2028 'quoted'",
        mark="m" * 100,
        changed_at=moment,
        missing=3,
        missing_since=moment,
    )

    record(store, "mine", given)

    job = store.job(job_id)
    assert {name: getattr(job, name) for name in claims.POLL_FIELDS} == {
        name: given[name] for name in claims.POLL_FIELDS
    }


def test_nul_from_the_upstream_does_not_spoil_the_batch(store: Store) -> None:
    odd, plain = store.add_all([dict(RUNNING), dict(RUNNING)])
    take(store)

    recorded = record(store, "mine", polled(odd, thought="a\x00b", upstream_status="\x00", mark="\x00"), polled(plain))

    assert recorded == {odd, plain}
    assert (store.job(odd).thought, store.job(odd).upstream_status) == ("ab", "")


def test_five_hundred_rows_are_recorded_at_once(store: Store) -> None:
    everyone = store.add_all([dict(RUNNING) for _ in range(500)])
    take(store)

    recorded = record(store, "mine", *[polled(job_id, missing=number) for number, job_id in enumerate(everyone)])

    assert recorded == set(everyone)
    assert [store.job(everyone[number]).missing for number in (0, 250, 499)] == [0, 250, 499]


def test_what_was_claimed_and_not_asked_is_put_back(store: Store) -> None:
    asked, unasked, theirs = store.add_all([dict(RUNNING) for _ in range(3)])
    take(store, "theirs", limit=3)
    for job_id in (asked, unasked):
        store.write(moves.change, job_id, statuses=set(Status), values={"claim": "mine"})
    record(store, "mine", polled(asked))

    put_back = store.write(claims.put_back, claim="mine", until=UNTIL, due_at=LATER)

    assert put_back == 1
    assert (store.job(unasked).claim, store.job(unasked).due_at) == (None, LATER)
    assert store.job(theirs).claim == "theirs"


def test_a_cancel_is_claimed_once_and_only_where_one_is_due(store: Store) -> None:
    cancelling = {"status": "cancelling", "due_at": NOW}
    due, later = store.add(**cancelling), store.add(**cancelling | {"due_at": LATER})
    answered, running = store.add(**cancelling | {"cancel_answered_at": NOW}), store.add(**RUNNING)

    def claim(session: Session, job_id: str) -> bool:
        return claims.cancel(session, job_id, claim="mine", now=NOW, until=UNTIL) is not None

    assert store.read(claims.next_cancels, NOW, 10) == [due]
    for job_id in (later, answered, running):
        assert not store.write(claim, job_id)
    assert sorted(store.race(*[partial(claim, job_id=due)] * 2)) == [False, True]


def test_a_hint_is_given_once_until_it_runs_out(store: Store) -> None:
    one, other = store.add(due_at=NOW), store.add(due_at=NOW)
    running = store.add(**RUNNING)
    until = NOW + timedelta(seconds=5)

    def hint(session: Session, now: datetime = NOW) -> list[str]:
        return [job.id for job in starts.hint(session, [other, one, running], now=now, until=until)]

    outcomes = store.race(hint, hint)

    assert sorted([*outcomes[0], *outcomes[1]]) == sorted([other, one])
    assert store.write(hint) == []
    assert store.write(hint, until) == [other, one]


def test_the_next_start_of_a_project_is_its_oldest_with_an_open_target(store: Store) -> None:
    oldest = store.add(due_at=NOW, target="shut")
    older, hinted, low = store.add(due_at=NOW), store.add(due_at=LATER), store.add(due_at=NOW, priority=2)
    young = store.add(due_at=NOW)

    def startable(priority: int, closed: set[str]) -> list[str]:
        return store.read(
            starts.startable, project_id=store.project_id, priority=priority, now=NOW, closed=closed, limit=5
        )

    assert startable(1, {"shut"}) == [older, young]
    assert startable(1, set()) == [oldest, older, young]
    assert startable(2, set()) == [low]
    assert hinted not in startable(1, set())


def test_what_the_sweep_looks_at_is_locked_against_other_sweeps(store: Store) -> None:
    due = store.add(status="scheduled", due_at=NOW)
    store.add(status="scheduled", due_at=LATER)
    store.add(status="scheduled", due_at=None)
    stuck = store.add(status="starting", due_at=NOW)
    expired = store.add(status="queued", deadline_at=NOW)
    store.add(status="queued", deadline_at=LATER)

    swept = store.write(lambda session: {job.id for job in claims.swept(session, NOW, 10)})
    over = store.write(lambda session: [job.id for job in claims.expired(session, NOW, 10)])

    assert (swept, over) == ({due, stuck}, [expired])
    if not store.database.is_sqlite:
        other = store.open()
        with store.database.write() as session, other.write() as second:
            assert len(claims.swept(session, NOW, 10)) == 2
            assert claims.swept(second, NOW, 10) == []
