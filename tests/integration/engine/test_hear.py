"""Upstream events are hints: a poll happens now, a lost create finds its job, and whatever is copied costs nothing."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest

from tests.integration.engine.engine import AGENT, Engine
from tests.integration.engine.telling import SECRET, URL, Upstream
from worker import telemetry
from worker.app import POLL
from worker.errors import EventRefused, Invalid, Unavailable
from worker.flow import adopt, attempt, claim, hear
from worker.flow.attempt import Attempt
from worker.flow.hear import Listener
from worker.flow.submit import Order
from worker.gemini.client import Created
from worker.models import Job
from worker.store import claims


@pytest.fixture
def upstream_tells(engine: Engine) -> Upstream:
    return Upstream(engine)


def interaction_of(engine: Engine, job_id: str) -> str:
    return engine.job(job_id).interaction_id or ""


def lost(engine: Engine, **fields: Any) -> tuple[str, str]:
    """A job whose create took effect and was never answered, and the interaction that was made."""
    job_id = engine.submit(**({"agent": AGENT} | fields))
    engine.control.fault("create", kind="lost", count=1)
    assert engine.start(job_id) in ("waiting", "queued")
    return job_id, list(engine.runs())[-1]


def metadata_of(engine: Engine, upstream_id: str) -> dict[str, Any]:
    return {"user_metadata": engine.runs()[upstream_id]["user_metadata"]}


def row_of(engine: Engine, job_id: str) -> Any:
    """The row as it is, for whether anything changed."""
    job = engine.job(job_id)
    return {name: getattr(job, name) for name in Job.model_fields}


def test_an_event_makes_the_poll_happen_now(engine: Engine, upstream_tells: Upstream) -> None:
    job_id = engine.started()
    engine.finish(job_id)
    assert engine.poll(after_s=2)["claimed"] == 0

    assert upstream_tells.tells(interaction_of(engine, job_id)) == "polled"

    assert engine.context.sender.backlog(POLL) == 1
    assert engine.poll(after_s=0)["ended"] == 1
    assert engine.status(job_id) == "completed"


def test_a_copy_of_an_event_changes_nothing(engine: Engine, upstream_tells: Upstream) -> None:
    job_id = engine.started()
    name = interaction_of(engine, job_id)
    assert upstream_tells.tells(name, event_id="msg_1") == "polled"
    engine.poll(after_s=0)
    before = row_of(engine, job_id)

    engine.pass_time(2)

    assert upstream_tells.tells(name, event_id="msg_1") == "duplicate"
    assert row_of(engine, job_id) == before


def test_events_cannot_drive_the_polls(engine: Engine, upstream_tells: Upstream) -> None:
    job_id = engine.started()
    name = interaction_of(engine, job_id)

    told = [upstream_tells.tells(name) for _ in range(3)]
    engine.poll(after_s=0)
    told.append(upstream_tells.tells(name))
    engine.pass_time(1)

    assert [*told, upstream_tells.tells(name)] == ["polled", "idle", "idle", "idle", "polled"]
    assert engine.count("get") == 1


def test_an_event_leaves_alone_who_is_being_asked_or_waits_to_be_stored(
    engine: Engine, upstream_tells: Upstream
) -> None:
    asked, seen = engine.started(), engine.started()
    engine.pass_time(10)
    now = engine.clock()
    with engine.context.database.write() as session:
        claims.polls(session, claim="c", now=now, until=now + timedelta(days=300), limit=10)
    engine.change(seen, claim=None, ended_seen=True)
    before = row_of(engine, asked), row_of(engine, seen)

    told = [upstream_tells.tells(interaction_of(engine, job_id)) for job_id in (asked, seen)]

    assert told == ["idle", "idle"]
    assert (row_of(engine, asked), row_of(engine, seen)) == before


def test_an_event_of_a_job_that_has_ended_changes_nothing(engine: Engine, upstream_tells: Upstream) -> None:
    job_id = engine.started()
    engine.finish(job_id)
    engine.poll()
    before = row_of(engine, job_id)

    assert upstream_tells.tells(interaction_of(engine, job_id)) == "idle"

    assert row_of(engine, job_id) == before


@pytest.mark.parametrize(
    ("forgery", "outcome"),
    [({"secret": "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}, "forged"), ({"age_s": 301}, "stale")],
)
def test_a_forged_or_stale_event_changes_nothing(
    engine: Engine, upstream_tells: Upstream, forgery: dict[str, Any], outcome: str
) -> None:
    job_id = engine.started()
    before = row_of(engine, job_id)

    with pytest.raises(EventRefused) as refused:
        upstream_tells.tells(interaction_of(engine, job_id), **forgery)

    assert refused.value.outcome == outcome
    assert (row_of(engine, job_id), engine.count("get")) == (before, 0)


def test_an_interaction_that_nobody_knows_costs_nothing(engine: Engine, upstream_tells: Upstream) -> None:
    engine.started()

    assert upstream_tells.tells("v1_elsewhere") == "unknown"

    assert engine.count("get") == 0


@pytest.mark.parametrize("is_told", [True, False])
def test_a_lost_create_finds_its_job_by_its_event(engine: Engine, upstream_tells: Upstream, *, is_told: bool) -> None:
    job_id, name = lost(engine)
    sent_at = engine.job(job_id).sent_at
    telemetry.drain()

    assert upstream_tells.tells(name, **(metadata_of(engine, name) if is_told else {})) == "adopted"

    job = engine.job(job_id)
    assert (job.status, job.interaction_id, job.sent_at) == ("in_progress", name, sent_at)
    assert job.due_at == engine.clock()
    assert telemetry.drain()["nightdesk_adopted_total", '{"by": "event"}'] == 1
    engine.finish(job_id)
    engine.poll(after_s=0)
    assert engine.status(job_id) == "completed"
    assert engine.events(job_id) == ["job.created", "job.started", "job.completed"]
    assert engine.count("create") == 1
    assert [one.upstream_id for one in engine.interactions(job_id)] == [name]


def test_an_event_may_come_before_the_answer_of_the_create(engine: Engine, upstream_tells: Upstream) -> None:
    job_id = engine.submit(agent=AGENT)
    told: list[str] = []
    engine.between("gemini").after["create"] = lambda made: told.append(upstream_tells.tells(made.upstream_id))

    assert engine.start(job_id) == "started"

    assert told == ["adopted"]
    assert (engine.status(job_id), engine.count("create"), engine.count("cancel")) == ("in_progress", 1, 0)
    assert [one.orphan for one in engine.interactions(job_id)] == [False]


def test_an_event_that_races_the_answer_of_the_create_never_makes_an_orphan(
    engine: Engine, upstream_tells: Upstream
) -> None:
    for _ in range(10):
        job_id, name = lost(engine)
        (row,) = engine.interactions(job_id)
        barrier, stand = Barrier(2), engine.between("gemini")
        upstream_tells.listener = Listener(engine.context)
        stand.after["get"] = lambda _, barrier=barrier: barrier.wait(30)

        def answer(job_id: str = job_id, token: str = row.token, name: str = name, barrier: Barrier = barrier) -> str:
            barrier.wait(30)
            made = Attempt(job_id, token, Created(name, "in_progress"))
            return attempt.attach(engine.context, [made])[job_id]

        with ThreadPoolExecutor(2) as pool:
            running = [pool.submit(answer), pool.submit(upstream_tells.tells, name)]
            outcomes = [future.result() for future in running]

        assert outcomes[0] == "started"
        assert outcomes[1] in ("adopted", "foreign")
        assert (engine.status(job_id), engine.interactions(job_id)[0].orphan) == ("in_progress", False)
        engine.context = replace(engine.context, gemini=stand.real)
    assert engine.count("cancel") == 0


def test_a_cancel_that_was_asked_meanwhile_is_applied(engine: Engine, upstream_tells: Upstream) -> None:
    job_id, name = lost(engine)
    engine.cancel(job_id)

    assert upstream_tells.tells(name) == "adopted"

    assert engine.status(job_id) == "cancelling"


def test_a_run_whose_job_tries_anew_already_is_stopped(engine: Engine, upstream_tells: Upstream) -> None:
    job_id, name = lost(engine, agent=AGENT, on_unknown_create="retry")
    assert engine.start(job_id) == "started"

    assert upstream_tells.tells(name, **metadata_of(engine, name)) == "orphan"

    engine.sweep()
    engine.control.advance(5)
    assert engine.runs()[name]["status"] == "cancelled"
    assert engine.upstream_status(job_id) == "in_progress"


def test_a_name_that_does_not_fit_is_nobodys(engine: Engine, upstream_tells: Upstream) -> None:
    job_id, name = lost(engine)
    other, stranger = lost(engine)
    token = metadata_of(engine, name)["user_metadata"]["token"]
    before = row_of(engine, job_id)

    assert upstream_tells.tells(name, user_metadata={"job": job_id, "token": "guessed"}) == "foreign"
    assert upstream_tells.tells(name, user_metadata={"job": other, "token": token}) == "foreign"
    assert engine.count("get") == 0
    # The event says one thing, the interaction another: only the interaction is believed.
    assert upstream_tells.tells(stranger, **metadata_of(engine, name)) == "foreign"

    assert row_of(engine, job_id) == before


def test_an_interaction_without_a_name_is_nobodys(engine: Engine, upstream_tells: Upstream) -> None:
    engine.set(gemini_webhooks="off")
    elsewhere = interaction_of(engine, made := engine.started())
    engine.set(gemini_webhooks="dynamic")
    job_id, _ = lost(engine)
    engine.change(made, interaction_id=None)
    with engine.context.database.write() as session:
        session.delete(session.merge(engine.interactions(made)[0]))

    assert upstream_tells.tells(elsewhere) == "foreign"

    assert engine.status(job_id) == "unconfirmed"


@pytest.mark.parametrize("fault", [{"status": 404}, {"status": 500}, {"kind": "lost"}, {"status": 403}])
def test_an_event_that_cannot_be_looked_up_yet_is_to_be_sent_again(
    engine: Engine, upstream_tells: Upstream, fault: dict[str, Any]
) -> None:
    job_id, name = lost(engine)
    engine.control.fault("get", **fault)

    with pytest.raises(Unavailable):
        upstream_tells.tells(name, event_id="msg_1")
    assert engine.status(job_id) == "unconfirmed"
    engine.control.clear_faults()
    with pytest.raises(Unavailable):
        upstream_tells.tells(name, event_id="msg_1")
    engine.clock.advance(hear.LOOK_AGAIN.total_seconds())

    assert upstream_tells.tells(name, event_id="msg_1") == "adopted"


def test_however_many_strangers_are_told_of_few_are_asked_for(engine: Engine, upstream_tells: Upstream) -> None:
    lost(engine)
    engine.between("gemini")
    upstream_tells.listener = Listener(engine.context)

    for number in range(hear.LOOKS + 10):
        with pytest.raises(Unavailable):
            upstream_tells.tells(f"v1_stranger_{number}")

    stand: Any = engine.context.gemini
    assert stand.calls.count("get") == hear.LOOKS


def test_static_events_adopt_nothing(engine: Engine) -> None:
    upstream = Upstream(engine)
    job_id, name = lost(engine)

    assert Upstream(engine, "static").tells(name) == "unknown"

    assert (upstream.engine.status(job_id), engine.count("get")) == ("unconfirmed", 0)


@pytest.mark.parametrize("mode", ["off", "static"])
def test_without_dynamic_events_a_create_carries_nothing_of_ours(engine: Engine, mode: str) -> None:
    engine.set(gemini_webhooks=mode)

    engine.started()

    (run,) = engine.runs().values()
    assert run["user_metadata"] is None


def test_with_dynamic_events_a_create_carries_its_jobs_name(engine: Engine, upstream_tells: Upstream) -> None:
    del upstream_tells
    (taken,) = claim.claim(engine.context, [job_id := engine.submit()])

    assert taken.body["webhook_config"] == {
        "uris": [f"{URL}/v1/upstream/gemini"],
        "user_metadata": {"job": job_id, "attempt": "1.1", "token": taken.token},
    }


def test_an_interaction_that_a_job_misses_is_that_jobs_whoever_adopts_it(
    engine: Engine, upstream_tells: Upstream
) -> None:
    del upstream_tells
    job_id, name = lost(engine)
    order = Order(engine.project_id, (), "/v1/jobs/adopt")

    with pytest.raises(Invalid, match=f"belongs to {job_id} already"):
        adopt.take_over(
            engine.context, adopt.Asked(order=order, fields={"interaction_id": name}, is_admin=True, request_id=None)
        )

    assert (engine.status(job_id), interaction_of(engine, job_id)) == ("in_progress", name)
    assert len(engine.rows(Job)) == 1


def test_every_event_is_counted_by_its_outcome_and_says_nothing_private(
    engine: Engine, upstream_tells: Upstream, said: Callable[[], str]
) -> None:
    job_id, name = lost(engine)
    token = metadata_of(engine, name)["user_metadata"]["token"]
    telemetry.drain()

    upstream_tells.tells(name, **metadata_of(engine, name))
    with pytest.raises(EventRefused):
        upstream_tells.tells(name, age_s=1000)

    counted = telemetry.drain()
    outcomes = {labels for counter, labels in counted if counter == "nightdesk_upstream_events_total"}
    assert outcomes == {'{"outcome": "adopted"}', '{"outcome": "stale"}'}
    spoken = said()
    assert job_id in spoken or name in spoken
    assert token not in spoken
    assert SECRET not in spoken
