"""What becomes of events while an endpoint cannot take them: it is paused, then disabled, and may recover."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from standardwebhooks import Webhook

from tests import factories
from tests.integration.engine.engine import Engine, Killed
from tests.integration.engine.hooks import Hooks, Say
from tests.integration.engine.receiving import (
    DOWN,
    UP,
    age,
    change,
    disabled,
    paused,
    register,
    rounds,
    row,
    statuses,
    submitted,
    to,
)
from worker import telemetry
from worker.errors import Conflict, NotFound
from worker.flow import deliver, endpoints, health, receivers
from worker.flow.sending import BATCH
from worker.models import WebhookEndpoint
from worker.store.endpoints import several as endpoints_of


def test_after_failures_one_at_a_time_tries_and_the_others_keep_their_ladders(engine: Engine, hooks: Hooks) -> None:
    made = paused(engine, hooks)
    asked = len(hooks.of("/in"))
    untried = [one for one in to(engine, made) if one.attempts == 0]
    assert asked < 30
    assert all((one.status, one.due_at) == ("pending", None) for one in untried)

    rounds(engine, 1)

    assert len(hooks.of("/in")) == asked + 1
    since = row(engine, made).failing_since
    assert since is not None
    engine.sweep(1)
    engine.deliver()
    assert len(hooks.of("/in")) == asked + 1


def test_what_waited_for_an_endpoint_arrives_when_it_has_recovered(engine: Engine, hooks: Hooks) -> None:
    made = paused(engine, hooks)
    hooks.answers["/in"] = UP
    assert "pending" in statuses(engine, made)

    rounds(engine, 4)

    assert statuses(engine, made) == ["delivered"] * 30
    found = row(engine, made)
    assert (found.failures, found.failing_since, found.due_at) == (0, None, None)


def test_a_paused_endpoint_holds_up_no_other(engine: Engine, hooks: Hooks) -> None:
    paused(engine, hooks)
    other = register(engine, hooks.url("/other"), "job.created")

    submitted(engine, 3)
    engine.deliver()

    assert statuses(engine, other) == ["delivered"] * 3


def test_what_has_to_wait_does_not_end_a_round(engine: Engine, hooks: Hooks) -> None:
    made = paused(engine, hooks)
    submitted(engine, 2 * BATCH)
    other = register(engine, hooks.url("/other"), "job.created")
    submitted(engine, 1)

    assert engine.deliver()["delivered"] == 1

    assert statuses(engine, other) == ["delivered"]
    assert all(one.due_at is None for one in to(engine, made) if one.attempts == 0)


def test_a_try_whose_sender_died_is_followed_by_another(engine: Engine, hooks: Hooks) -> None:
    made = paused(engine, hooks)
    hooks.answers["/in"] = UP
    engine.sweep(6)
    database, whole = engine.between("database"), engine.context

    def die(*_: object) -> None:
        if database.calls.count("write") == 2:
            raise Killed

    database.before["write"] = die
    with pytest.raises(Killed):
        engine.deliver()
    database.before.clear()
    assert whole.database is not None

    rounds(engine, 4, after_s=21)

    assert statuses(engine, made) == ["delivered"] * 30


def test_what_is_put_aside_while_its_endpoint_recovers_is_not_forgotten(engine: Engine, hooks: Hooks) -> None:
    made = register(engine, hooks.url("/in"), "job.created")
    context, barrier = engine.context, Barrier(2)

    def recover() -> None:
        barrier.wait(30)
        with context.database.write() as session:
            endpoint = endpoints_of(session, {made.endpoint.id}, lock=True)[made.endpoint.id]
            health.succeeded(endpoint, context.clock())
            session.flush()
        receivers.look(context)

    def claim() -> None:
        barrier.wait(30)
        deliver._claim(context, 64)

    for _ in range(15):
        submitted(engine, 1)
        age(engine, made, failures=health.BREAKS_AT, due_at=engine.clock() + timedelta(minutes=1))
        with ThreadPoolExecutor(2) as threads:
            for running in [threads.submit(recover), threads.submit(claim)]:
                running.result(30)
    for _ in range(2):
        receivers.look(context)

    assert row(engine, made).due_at is None
    assert all(one.due_at is not None for one in to(engine, made))


def test_an_endpoint_that_did_nothing_but_fail_for_five_days_is_disabled(
    engine: Engine, hooks: Hooks, said: Callable[[], str]
) -> None:
    made = register(engine, hooks.url("/dead?token=1"), "job.created")
    witness = register(engine, hooks.url("/witness"), "endpoint.disabled")
    hooks.answers["/dead"] = DOWN
    submitted(engine, 2)
    engine.deliver()
    age(engine, made, failing_since=engine.clock() - health.GIVES_UP_AFTER)
    telemetry.drain()

    engine.clock.advance(6)
    engine.deliver()
    engine.sweep()
    engine.deliver()

    found = row(engine, made)
    assert (found.disabled_at is not None, found.disabled_reason) == (True, "failing")
    assert statuses(engine, made) == ["held", "held"]
    (got,) = hooks.of("/witness")
    event = Webhook(witness.secret).verify(got.body, got.headers)
    assert (event["type"], event["data"]["id"], event["data"]["disabled_reason"]) == (
        "endpoint.disabled",
        made.endpoint.id,
        "failing",
    )
    spoken = said()
    assert "endpoint.disabled" in spoken
    assert "token=1" not in spoken


def test_one_success_in_five_days_keeps_an_endpoint(engine: Engine, hooks: Hooks) -> None:
    made = register(engine, hooks.url("/in"), "job.created")
    hooks.answers["/in"] = [Say(500), Say(204), Say(500)]
    for _ in range(3):
        submitted(engine, 1)
        engine.deliver()
        age(engine, made, created_at=engine.clock())
        engine.clock.advance(2)

    found = row(engine, made)
    assert found.failures == 1
    assert found.failing_since == engine.clock() - timedelta(seconds=2)


def test_a_410_disables_an_endpoint_at_once_and_holds_what_it_refused(engine: Engine, hooks: Hooks) -> None:
    made = register(engine, hooks.url("/in"), "job.created")
    hooks.answers["/in"] = [Say(410)]
    submitted(engine, 1)

    engine.deliver()
    engine.sweep()

    assert (row(engine, made).disabled_reason, statuses(engine, made)) == ("gone", ["held"])


def test_events_for_a_disabled_endpoint_are_held_and_sent_when_it_is_enabled(engine: Engine, hooks: Hooks) -> None:
    made = disabled(engine, hooks)
    held = to(engine, made)
    assert {(one.status, one.due_at) for one in held} == {("held", engine.clock() + timedelta(days=30))}
    assert (row(engine, made).disabled_reason, hooks.got) == ("owner", [])

    change(engine, made, enabled=True)
    rounds(engine, 2)

    assert {got.headers["webhook-id"] for got in hooks.of("/in")} == {one.event_id for one in held}
    assert (statuses(engine, made), row(engine, made).due_at) == (["delivered"] * 3, None)


def test_what_was_held_after_failures_climbs_its_ladder_anew(engine: Engine, hooks: Hooks) -> None:
    made = register(engine, hooks.url("/in"), "job.created")
    hooks.answers["/in"] = DOWN
    submitted(engine, 1)
    for wait_s in engine.context.settings.webhook_retry_s[:-1]:
        engine.clock.advance(wait_s)
        engine.deliver()
        age(engine, made, failures=0, due_at=None)
    assert to(engine, made)[0].attempts == 9
    change(engine, made, enabled=False)
    engine.sweep()
    assert statuses(engine, made) == ["held"]

    change(engine, made, enabled=True)
    rounds(engine, 1)

    (found,) = to(engine, made)
    assert (found.status, found.attempts) == ("pending", 10)
    assert found.due_at == engine.clock() + timedelta(seconds=5)


def test_what_was_held_for_thirty_days_is_given_up(engine: Engine, hooks: Hooks) -> None:
    made = disabled(engine, hooks, 1)
    engine.clock.advance(30 * 86_400 - 120)
    engine.sweep()
    assert statuses(engine, made) == ["held"]

    engine.sweep(121)

    assert (statuses(engine, made), to(engine, made)[0].due_at) == (["exhausted"], None)


def test_what_waits_for_a_deleted_endpoint_is_cancelled(engine: Engine, hooks: Hooks) -> None:
    made = register(engine, hooks.url("/in"), "job.created")
    submitted(engine, 2)
    with engine.context.database.write() as session:
        job = factories.job(engine.project_id, status="completed", finished_at=engine.clock())
        session.add(job)
        session.flush()
        late = {"endpoint_id": made.endpoint.id, "host": "127.0.0.1", "due_at": engine.clock() + timedelta(hours=1)}
        factories.delivery(session, job, hooks.url("/in"), **late)

    endpoints.remove(engine.context, engine.project_id, made.endpoint.id)
    engine.deliver()
    assert (statuses(engine, made)[:2], hooks.got) == (["cancelled"] * 2, [])
    engine.sweep()
    engine.sweep()

    assert statuses(engine, made) == ["cancelled"] * 3
    assert engine.rows(WebhookEndpoint) == []
    with pytest.raises(NotFound):
        endpoints.ping(engine.context, engine.project_id, made.endpoint.id)
    with pytest.raises(Conflict):
        deliver.again(engine.context, engine.project_id, to(engine, made)[0].id)


def test_a_deleted_endpoint_keeps_no_secret(engine: Engine, hooks: Hooks) -> None:
    made = register(engine, hooks.url("/in?token=1"), headers={"X-Key": "1"}, description="mine")

    endpoints.remove(engine.context, engine.project_id, made.endpoint.id)

    found = row(engine, made)
    assert (found.url, found.description, found.header_names, found.headers, found.secret) == ("", None, [], None, b"")
