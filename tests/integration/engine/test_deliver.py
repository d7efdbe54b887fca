"""Delivering: signed, in the job's own transaction, by the ladder, and at least once."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from standardwebhooks import Webhook, WebhookVerificationError

from tests.integration.engine.engine import Engine, Killed
from tests.integration.engine.hooks import Got, Hooks, Say
from tests.waiting import eventually
from worker.errors import Conflict, NotFound, Unavailable
from worker.flow import deliver, secrets
from worker.models import Delivery, Event, Job
from worker.settings import DEFAULT_LADDER_S
from worker.webhooks.reply import Reply, ReplyKind


def ended(engine: Engine, url: str, **fields: Any) -> str:
    """A job that has completed and whose event waits for its delivery."""
    job_id = engine.started(webhook_url=url, **fields)
    engine.finish(job_id)
    engine.poll()
    assert engine.status(job_id) == "completed"
    return job_id


def one(engine: Engine, job_id: str) -> Delivery:
    (delivery,) = engine.deliveries(job_id)
    return delivery


def verified(engine: Engine, got: Got, secret: str | None = None) -> Any:
    """The event, as the public library lets it through."""
    secret = secret or secrets.current(engine.context, engine.project_id)
    # The library compares the time stamp with the real time.
    return Webhook(secret).verify(got.body, got.headers)


def test_an_event_arrives_signed_and_is_recorded(engine: Engine, hooks: Hooks) -> None:
    job_id = ended(engine, hooks.url("/in?token=1"), input="[[sim: text=Hello]]", metadata={"a": "b"})
    hooks.answers["/in"] = [Say(200, body=b"thank you")]

    assert engine.deliver() == {"delivered": 1, "failed": 0}

    (got,) = hooks.of("/in")
    event = verified(engine, got)
    assert (event["type"], event["data"]["id"], event["data"]["output_text"]) == ("job.completed", job_id, "Hello")
    assert event["data"]["metadata"] == {"a": "b"}
    delivery = one(engine, job_id)
    assert got.headers["webhook-id"] == delivery.event_id
    assert (delivery.status, delivery.attempts, delivery.due_at) == ("delivered", 1, None)
    (attempt,) = engine.attempts()
    assert (attempt.outcome, attempt.http_status, attempt.snippet) == ("ok", 200, "thank you")
    assert engine.deliver() == {"delivered": 0, "failed": 0}


def test_another_secret_does_not_verify(engine: Engine, hooks: Hooks) -> None:
    ended(engine, hooks.url())
    engine.deliver()

    with pytest.raises(WebhookVerificationError):
        verified(engine, hooks.got[0], "whsec_" + "A" * 44)


def test_failures_climb_the_ladder_and_are_never_early(engine: Engine, hooks: Hooks) -> None:
    job_id = ended(engine, hooks.url())
    hooks.answers["/hook"] = [Say(500)]
    waits = []

    for _ in DEFAULT_LADDER_S[1:]:
        assert engine.deliver() == {"delivered": 0, "failed": 1}
        due_at = one(engine, job_id).due_at
        assert due_at is not None
        waits.append((due_at - engine.clock()).total_seconds())
        engine.clock.advance(waits[-1] - 0.001)
        assert engine.deliver() == {"delivered": 0, "failed": 0}
        engine.clock.advance(0.001)
    engine.deliver()

    assert waits == list(DEFAULT_LADDER_S[1:])
    assert (one(engine, job_id).status, one(engine, job_id).due_at) == ("exhausted", None)
    assert [attempt.number for attempt in engine.attempts()] == list(range(1, 11))
    assert {got.headers["webhook-id"] for got in hooks.got} == {one(engine, job_id).event_id}
    assert len({got.headers["webhook-timestamp"] for got in hooks.got}) == 10


def test_jitter_is_a_fifth_later_at_most(engine: Engine, hooks: Hooks) -> None:
    engine.context = replace(engine.context, chance=lambda: 0.999)
    hooks.answers["/hook"] = [Say(500)]
    job_id = ended(engine, hooks.url())

    engine.deliver()

    due_at = one(engine, job_id).due_at
    assert due_at is not None
    assert 5 < (due_at - engine.clock()).total_seconds() <= 6


@pytest.mark.parametrize(("wish", "wait_s"), [("2", 5), ("100", 100), ("999999", 86_400)])
def test_retry_after_is_obeyed_up_to_a_day_but_never_shortens(
    engine: Engine, hooks: Hooks, wish: str, wait_s: int
) -> None:
    hooks.answers["/hook"] = [Say(503, {"Retry-After": wish})]
    job_id = ended(engine, hooks.url())

    engine.deliver()

    assert one(engine, job_id).due_at == engine.clock() + timedelta(seconds=wait_s)


def test_a_redirect_is_a_failure_and_is_not_followed(engine: Engine, hooks: Hooks) -> None:
    hooks.answers["/hook"] = [Say(307, {"Location": "/elsewhere"})]
    ended(engine, hooks.url())

    assert engine.deliver()["failed"] == 1

    assert hooks.of("/elsewhere") == []


def test_410_is_final(engine: Engine, hooks: Hooks) -> None:
    hooks.answers["/hook"] = [Say(410)]
    job_id = ended(engine, hooks.url())

    engine.deliver()

    assert (one(engine, job_id).status, one(engine, job_id).attempts) == ("exhausted", 1)


def test_a_refused_address_is_final_at_once(engine: Engine) -> None:
    job_id = ended(engine, "http://127.0.0.1:9/in")
    with engine.context.database.write() as session:
        session.execute(sa.update(Delivery).values(url="http://10.1.2.3/in", host="10.1.2.3"))

    engine.deliver()

    assert one(engine, job_id).status == "exhausted"
    (attempt,) = engine.attempts()
    assert (attempt.outcome, attempt.http_status) == ("refused", None)


def test_a_receiver_that_is_not_there_is_tried_again(engine: Engine) -> None:
    job_id = ended(engine, "http://127.0.0.1:9/in")

    engine.deliver()

    assert (one(engine, job_id).status, engine.attempts()[0].outcome) == ("pending", "connect")


def test_a_busy_host_costs_no_attempt(engine: Engine, hooks: Hooks) -> None:
    job_id = ended(engine, hooks.url())

    async def busy(*_: object, **__: object) -> Reply:
        return Reply(ReplyKind.BUSY)

    engine.between("egress").instead["post"] = busy
    engine.deliver()

    delivery = one(engine, job_id)
    assert (delivery.status, delivery.attempts, engine.attempts()) == ("pending", 0, [])
    assert delivery.due_at == engine.clock() + timedelta(seconds=2)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_sender_killed_around_its_record_delivers_once_more_under_the_same_id(
    engine: Engine, hooks: Hooks, when: str
) -> None:
    job_id, whole = ended(engine, hooks.url()), engine.context.database

    def die(*_: object) -> None:
        # The first write claims, the second records.
        if database.calls.count("write") == 2:
            raise Killed

    database = engine.between("database")
    getattr(database, when)["write"] = die
    with pytest.raises(Killed):
        engine.deliver()
    engine.context = replace(engine.context, database=whole)
    assert one(engine, job_id).status == "pending"

    assert engine.deliver() == {"delivered": 0, "failed": 0}
    engine.clock.advance(20)
    assert engine.deliver() == {"delivered": 1, "failed": 0}

    assert [got.headers["webhook-id"] for got in hooks.got] == [one(engine, job_id).event_id] * 2
    assert len(engine.attempts()) == 1


def test_a_sender_killed_after_its_claim_is_replaced_when_that_runs_out(engine: Engine, hooks: Hooks) -> None:
    ended(engine, hooks.url())
    assert deliver._claim(engine.context, 64)[0] == 1

    assert engine.deliver() == {"delivered": 0, "failed": 0}
    engine.clock.advance(20)

    assert engine.deliver() == {"delivered": 1, "failed": 0}


def test_a_database_away_at_the_record_means_a_second_delivery(engine: Engine, hooks: Hooks) -> None:
    job_id = ended(engine, hooks.url())
    database = engine.between("database")

    def away(*_: object) -> None:
        if database.calls.count("write") == 2:
            raise Unavailable("the database does not answer")

    database.before["write"] = away
    engine.deliver()
    engine.clock.advance(20)
    engine.deliver()

    assert len(hooks.got) == 2
    assert one(engine, job_id).status == "delivered"


def test_a_database_away_at_a_later_look_loses_no_reply(engine: Engine, hooks: Hooks) -> None:
    job_id, held = ended(engine, hooks.url()), hooks.hold("/hook")
    database = engine.between("database")

    def away(*_: object) -> None:
        if database.calls.count("write") == 2:
            raise Unavailable("the database does not answer")

    database.before["write"] = away
    with ThreadPoolExecutor(1) as threads:
        delivering = threads.submit(engine.deliver)
        eventually(lambda: database.calls.count("write") >= 2)
        held.set()

        assert delivering.result(60) == {"delivered": 1, "failed": 0}

    assert one(engine, job_id).status == "delivered"


def test_a_database_away_when_something_is_put_back_ends_no_round(engine: Engine) -> None:
    ended(engine, "http://127.0.0.1:9/in")
    _, (sent,) = deliver._claim(engine.context, 64)

    def away(*_: object) -> None:
        raise Unavailable("the database does not answer")

    database = engine.between("database")
    database.before["write"] = away
    deliver._put_back(engine.context, [sent])

    assert database.calls == ["write"]
    assert [row.claim for row in engine.rows(Delivery)] == [sent.claim]


def test_during_a_rotation_both_secrets_sign(engine: Engine, hooks: Hooks) -> None:
    old = secrets.current(engine.context, engine.project_id)
    new = secrets.rotate(engine.context, engine.project_id)
    assert new == secrets.current(engine.context, engine.project_id) != old

    ended(engine, hooks.url())
    engine.deliver()

    assert len(hooks.got[0].headers["webhook-signature"].split()) == 2
    assert verified(engine, hooks.got[0], old) == verified(engine, hooks.got[0], new)


def test_a_day_after_a_rotation_the_new_secret_signs_alone(engine: Engine, hooks: Hooks) -> None:
    secrets.rotate(engine.context, engine.project_id)
    ended(engine, hooks.url())
    engine.clock.advance(24 * 3600)

    engine.deliver()

    assert len(hooks.got[0].headers["webhook-signature"].split()) == 1


def test_a_delivery_is_sent_again_on_request(engine: Engine, hooks: Hooks) -> None:
    hooks.answers["/hook"] = [Say(410), Say(204)]
    job_id = ended(engine, hooks.url())
    engine.deliver()
    delivery = one(engine, job_id)
    assert delivery.status == "exhausted"

    assert deliver.again(engine.context, engine.project_id, delivery.id).status == "pending"
    assert engine.deliver() == {"delivered": 1, "failed": 0}

    assert [got.headers["webhook-id"] for got in hooks.got] == [delivery.event_id] * 2
    assert [attempt.number for attempt in engine.attempts()] == [1, 2]
    with pytest.raises(NotFound):
        deliver.again(engine.context, "prj_other", delivery.id)
    with engine.context.database.write() as session:
        session.execute(sa.update(Event).values(payload=None))
    with pytest.raises(Conflict):
        deliver.again(engine.context, engine.project_id, delivery.id)


def test_the_sweep_finds_deliveries_that_nobody_hinted(engine: Engine, hooks: Hooks) -> None:
    ended(engine, hooks.url())
    with engine.context.sender._redis as client:
        client.flushall()
    assert engine.context.sender.backlog("webhook.deliver") == 0

    engine.sweep()

    assert engine.context.sender.backlog("webhook.deliver") == 1


def test_a_large_output_is_left_out_of_the_event(engine: Engine, hooks: Hooks) -> None:
    job_id = ended(engine, hooks.url(), input="[[sim: size=400kb]]")

    engine.deliver()

    event = verified(engine, hooks.got[0])
    assert event["data"]["truncated"]
    assert not {"output_text", "output_json", "citations", "artifacts"} & event["data"].keys()
    assert event["data"]["links"]["self"] == f"/v1/jobs/{job_id}"
    assert isinstance(engine.job(job_id), Job)
