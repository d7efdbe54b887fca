"""Registered endpoints: who hears what, signed how; and what becomes of events while an endpoint cannot take them."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from threading import Barrier
from typing import Any

import orjson
import pytest
import sqlalchemy as sa
from sqlmodel import col
from standardwebhooks import Webhook, WebhookVerificationError

from tests import factories
from tests.integration.engine.engine import Engine, Killed
from tests.integration.engine.hooks import Hooks, Say
from worker import telemetry
from worker.errors import Conflict, NotFound
from worker.flow import deliver, endpoints, health, receivers, remove, secrets
from worker.flow.endpoints import Shown
from worker.flow.sending import BATCH
from worker.models import Delivery, WebhookEndpoint
from worker.store import projects
from worker.store.endpoints import several as endpoints_of

DOWN, UP = [Say(500)], [Say(204)]


def register(engine: Engine, url: str, *events: str, **fields: Any) -> Shown:
    wanted = {"events": list(events)} if events else {}
    return endpoints.create(engine.context, engine.project_id, {"url": url, **wanted, **fields})


def change(engine: Engine, made: Shown, **fields: Any) -> WebhookEndpoint:
    return endpoints.change(engine.context, engine.project_id, made.endpoint.id, fields)


def row(engine: Engine, made: Shown) -> WebhookEndpoint:
    found = engine.read(lambda session: session.get(WebhookEndpoint, made.endpoint.id))
    assert isinstance(found, WebhookEndpoint)
    return found


def to(engine: Engine, made: Shown) -> list[Delivery]:
    found = [one for one in engine.rows(Delivery) if one.endpoint_id == made.endpoint.id]
    return sorted(found, key=lambda one: one.id)


def statuses(engine: Engine, made: Shown) -> list[str]:
    return [one.status for one in to(engine, made)]


def age(engine: Engine, made: Shown, **values: Any) -> None:
    with engine.context.database.write() as session:
        session.execute(sa.update(WebhookEndpoint).where(col(WebhookEndpoint.id) == made.endpoint.id).values(**values))


def submitted(engine: Engine, number: int) -> None:
    """Jobs that are created, and nothing more."""
    engine.accept(*(engine.draft() for _ in range(number)))


def rounds(engine: Engine, number: int, after_s: float = 6) -> None:
    """Sweep and deliver, so often, with pauses between."""
    for _ in range(number):
        engine.sweep(after_s)
        engine.deliver()


def paused(engine: Engine, hooks: Hooks, *, number: int = 30) -> Shown:
    """An endpoint that is down, and as many events that wait for it."""
    made = register(engine, hooks.url("/in"), "job.created")
    hooks.answers["/in"] = DOWN
    submitted(engine, number)
    engine.deliver()
    assert health.is_paused(row(engine, made))
    return made


def test_every_event_reaches_an_endpoint_beside_the_jobs_own_url(engine: Engine, hooks: Hooks) -> None:
    made = register(engine, hooks.url("/all"), headers={"Authorization": "Bearer mine", "X-Team": "owls"})
    job_id = engine.started(webhook_url=hooks.url("/own"))
    engine.finish(job_id)
    engine.poll()

    engine.deliver()

    heard = [got.json["type"] for got in hooks.of("/all")]
    assert sorted(heard) == ["job.completed", "job.created", "job.started"]
    assert [got.json["type"] for got in hooks.of("/own")] == ["job.completed"]
    for got in hooks.of("/all"):
        event = Webhook(made.secret).verify(got.body, got.headers)
        assert event["data"]["id"] == job_id
        assert (got.headers["authorization"], got.headers["x-team"]) == ("Bearer mine", "owls")
    with pytest.raises(WebhookVerificationError):
        Webhook(made.secret).verify(hooks.of("/own")[0].body, hooks.of("/own")[0].headers)
    assert "authorization" not in hooks.of("/own")[0].headers
    ids = {got.json["type"]: got.headers["webhook-id"] for got in hooks.of("/all")}
    assert ids["job.completed"] == hooks.of("/own")[0].headers["webhook-id"]


def test_an_endpoint_hears_what_it_asked_for_and_nothing_of_other_projects(engine: Engine, hooks: Hooks) -> None:
    some = register(engine, hooks.url("/some"), "job.started")
    with engine.context.database.write() as session:
        other = projects.create_project(session, "other", sealed_secret=b"", now=engine.clock())
    foreign = endpoints.create(engine.context, other.id, {"url": hooks.url("/foreign")})

    engine.started()
    engine.deliver()

    assert [got.json["type"] for got in hooks.of("/some")] == ["job.started"]
    assert (len(to(engine, some)), to(engine, foreign), hooks.of("/foreign")) == (1, [], [])


@contextmanager
def looks(engine: Engine) -> Iterator[list[str]]:
    """The statements that read endpoints."""
    seen: list[str] = []

    def note(*told: Any) -> None:
        if "FROM webhook_endpoint" in told[2]:
            seen.append(told[2])

    sa.event.listen(engine.context.database.engine, "before_cursor_execute", note)
    yield seen
    sa.event.remove(engine.context.database.engine, "before_cursor_execute", note)


def test_a_crowd_costs_one_look_at_the_endpoints(engine: Engine, hooks: Hooks) -> None:
    made = register(engine, hooks.url("/in"), "job.created")

    with looks(engine) as seen:
        submitted(engine, 20)

    assert (len(seen), len(to(engine, made))) == (1, 20)


def test_during_a_rotation_both_secrets_of_an_endpoint_sign(engine: Engine, hooks: Hooks) -> None:
    old = register(engine, hooks.url("/in"), "job.created")
    new = endpoints.rotate(engine.context, engine.project_id, old.endpoint.id)
    submitted(engine, 1)
    engine.deliver()
    engine.clock.advance(24 * 3600)
    submitted(engine, 1)
    engine.deliver()

    during, after = hooks.of("/in")
    assert Webhook(old.secret).verify(during.body, during.headers) == Webhook(new.secret).verify(
        during.body, during.headers
    )
    assert len(after.headers["webhook-signature"].split()) == 1


def test_two_rotations_within_a_day_leave_all_three_secrets_signing(engine: Engine, hooks: Hooks) -> None:
    made = register(engine, hooks.url("/in"), "job.created")
    newer = [endpoints.rotate(engine.context, engine.project_id, made.endpoint.id).secret for _ in range(2)]
    own = [secrets.current(engine.context, engine.project_id)]
    own += [secrets.rotate(engine.context, engine.project_id) for _ in range(2)]

    engine.submit(webhook_url=hooks.url("/own"), webhook_events=["job.created"])
    engine.deliver()

    for path, known in (("/in", [made.secret, *newer]), ("/own", own)):
        (got,) = hooks.of(path)
        assert len(got.headers["webhook-signature"].split()) == 3
        for secret in known:
            assert Webhook(secret).verify(got.body, got.headers)["type"] == "job.created"


def test_a_ping_goes_the_way_of_every_event(engine: Engine, hooks: Hooks) -> None:
    made = register(engine, hooks.url("/in"), "job.failed")

    delivery = endpoints.ping(engine.context, engine.project_id, made.endpoint.id)
    engine.deliver()

    (got,) = hooks.of("/in")
    event = Webhook(made.secret).verify(got.body, got.headers)
    assert (event["type"], event["data"]["id"]) == ("webhook.ping", made.endpoint.id)
    (found,) = to(engine, made)
    assert (found.id, found.status, found.event_type) == (delivery.id, "delivered", "webhook.ping")
    assert got.headers["webhook-id"] == found.event_id
    assert [attempt.http_status for attempt in engine.attempts()] == [204]


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


def disabled(engine: Engine, hooks: Hooks, number: int = 3) -> Shown:
    """An endpoint that its owner disabled, and what happened since then."""
    made = register(engine, hooks.url("/in"), "job.created")
    change(engine, made, enabled=False)
    submitted(engine, number)
    engine.deliver()
    return made


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


def test_a_replay_sends_what_failed_since_a_moment_and_nothing_else(engine: Engine, hooks: Hooks) -> None:
    made = register(engine, hooks.url("/in"), "job.created")
    engine.set(webhook_retry_s=(0.0,))
    answers = hooks.answers["/in"] = [Say(500), Say(500), Say(204), Say(204)]
    for _ in range(3):
        submitted(engine, 1)
        engine.deliver()
        engine.clock.advance(60)
    assert statuses(engine, made) == ["exhausted", "exhausted", "delivered"]
    assert answers == [Say(204)]

    since = (engine.clock() - timedelta(seconds=150)).isoformat()
    endpoints.replay(engine.context, engine.project_id, made.endpoint.id, {"since": since})
    engine.deliver()

    assert statuses(engine, made) == ["exhausted", "delivered", "delivered"]
    ids = [got.headers["webhook-id"] for got in hooks.of("/in")]
    assert (len(ids), ids[3]) == (4, ids[1])


def test_a_replay_of_a_disabled_endpoint_goes_once_and_is_held_again_where_it_fails(
    engine: Engine, hooks: Hooks
) -> None:
    made = disabled(engine, hooks)
    hooks.answers["/in"] = [Say(204), Say(500)]

    endpoints.replay(engine.context, engine.project_id, made.endpoint.id, {"since": "2020-01-01T00:00:00Z"})
    engine.sweep()
    engine.deliver()
    rounds(engine, 2)

    assert len(hooks.of("/in")) == 3
    assert sorted(statuses(engine, made)) == ["delivered", "held", "held"]
    assert row(engine, made).disabled_at is not None


def test_what_waits_goes_to_the_endpoints_new_address_and_says_so(engine: Engine, hooks: Hooks) -> None:
    made = register(engine, hooks.url("/old"), "job.created")
    hooks.answers["/old"] = DOWN
    submitted(engine, 1)
    engine.deliver()

    change(engine, made, url=hooks.url("/new", "localhost"))
    engine.clock.advance(6)
    engine.deliver()

    (found,) = to(engine, made)
    assert (len(hooks.of("/old")), len(hooks.of("/new"))) == (1, 1)
    assert (found.url, found.host) == (hooks.url("/new", "localhost"), "localhost")


def test_a_deleted_jobs_held_delivery_is_cancelled(engine: Engine, hooks: Hooks) -> None:
    made = register(engine, hooks.url("/in"), "job.created")
    change(engine, made, enabled=False)
    job_id = engine.submit()
    engine.deliver()
    engine.cancel(job_id)

    remove.job(engine.context, engine.project_id, job_id)
    change(engine, made, enabled=True)
    rounds(engine, 2)

    assert (statuses(engine, made), hooks.got) == (["cancelled"], [])


def test_secrets_and_headers_of_endpoints_are_sealed_and_never_said(
    engine: Engine, hooks: Hooks, said: Callable[[], str]
) -> None:
    made = register(engine, hooks.url("/in?token=canary"), headers={"X-Key": "canary-value"}, description="canary too")
    endpoints.rotate(engine.context, engine.project_id, made.endpoint.id)
    endpoints.ping(engine.context, engine.project_id, made.endpoint.id)
    engine.deliver()
    with engine.context.database.read() as session:
        stored = session.execute(sa.text("SELECT secret, old_secret, headers FROM webhook_endpoint")).one()

    kept = b"".join(bytes(value) for value in stored)
    assert made.secret.removeprefix("whsec_").encode() not in kept
    assert b"canary" not in kept
    spoken = said()
    assert made.endpoint.id in spoken
    assert "canary" not in spoken
    assert "whsec_" not in spoken


def test_the_same_event_has_the_same_bytes_for_everybody(engine: Engine, hooks: Hooks) -> None:
    register(engine, hooks.url("/a"), "job.completed")
    register(engine, hooks.url("/b"), "job.completed")
    job_id = engine.started(input="[[sim: size=400kb]]")
    engine.finish(job_id)
    engine.poll()

    engine.deliver()

    (one,), (other,) = hooks.of("/a"), hooks.of("/b")
    assert one.body == other.body
    assert orjson.loads(one.body)["data"]["truncated"]
    assert one.headers["webhook-id"] == other.headers["webhook-id"]
