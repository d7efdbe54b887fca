"""Registered endpoints: who hears what, signed how, and what becomes of it when they change."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import orjson
import pytest
import sqlalchemy as sa
from standardwebhooks import Webhook, WebhookVerificationError

from tests.integration.engine.engine import Engine
from tests.integration.engine.hooks import Hooks, Say
from tests.integration.engine.receiving import DOWN, change, disabled, register, rounds, row, statuses, submitted, to
from worker.flow import endpoints, remove, secrets
from worker.store import projects


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
