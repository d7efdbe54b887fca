"""Delivering: signed, in the job's own transaction, by the ladder, at least once, and no receiver delays another."""

import socket
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from standardwebhooks import Webhook, WebhookVerificationError

from tests import factories
from tests.integration.engine.engine import Engine, Killed
from tests.integration.engine.hooks import Got, Hooks, Say
from tests.waiting import eventually
from worker import context as contexts
from worker.errors import Conflict, NotFound, Unavailable
from worker.flow import deliver, secrets
from worker.flow.sending import AHEAD, BATCH, PER_HOST, Round
from worker.models import Delivery, Event, Job
from worker.settings import DEFAULT_LADDER_S
from worker.store import deliveries, projects
from worker.webhooks import signing
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


def many(engine: Engine, number: int, url: str, host: str, project_id: str | None = None) -> None:
    """Deliveries of one job that are due, all to one receiver."""
    with engine.context.database.write() as session:
        job = factories.job(project_id or engine.project_id, status="completed", finished_at=engine.clock())
        session.add(job)
        session.flush()
        for _ in range(number):
            factories.delivery(session, job, url, host=host, due_at=engine.clock() - timedelta(hours=1))


def test_a_receiver_that_hangs_delays_nobody_else(engine: Engine, hooks: Hooks) -> None:
    # On a slow machine some are put back, and then fall due by the real clock.
    engine.context = replace(engine.context, clock=contexts.utc_now)
    # Of the dead more than a batch, all due before the others.
    many(engine, 2 * BATCH, hooks.url("/dead"), "127.0.0.1")
    many(engine, 100, hooks.url("/alive", "localhost"), "localhost")
    hooks.hold("/dead")

    with ThreadPoolExecutor(1) as threads:
        delivering = threads.submit(engine.deliver)
        eventually(lambda: len(hooks.of("/alive")) == 100, within_s=engine.context.settings.talk_deliver_s - 1)
        eventually(lambda: len(hooks.of("/dead")) >= PER_HOST, within_s=10)
        asked = len(hooks.of("/dead"))
        claimed = [row for row in engine.rows(Delivery) if row.host == "127.0.0.1" and row.claim is not None]
        hooks.held["/dead"].set()
        delivering.result(60)

    assert asked == PER_HOST
    assert len(claimed) <= BATCH


@contextmanager
def silent() -> Iterator[int]:
    """A port on which connections are made and nobody answers, at every address of loopback."""
    with socket.create_server(("0.0.0.0", 0), backlog=1024) as server:
        yield int(server.getsockname()[1])


@pytest.mark.parametrize("are_strangers", [False, True])
def test_many_receivers_that_hang_delay_nobody_else(engine: Engine, hooks: Hooks, *, are_strangers: bool) -> None:
    """Eleven of one's own; of another project as many as it likes."""
    engine.context = replace(engine.context, clock=contexts.utc_now)
    number, owner = (11, engine.project_id)
    if are_strangers:
        with engine.context.database.write() as session:
            secret = engine.context.vault.seal(signing.new_secret())
            stranger = projects.create_project(session, "strangers", sealed_secret=secret, now=engine.clock())
        number, owner = (60, stranger.id)

    with ThreadPoolExecutor(1) as threads, silent() as port:
        for host in range(2, 2 + number):
            many(engine, 16, f"http://127.0.0.{host}:{port}/", f"127.0.0.{host}", owner)
        many(engine, 30, hooks.url("/alive", "localhost"), "localhost")
        delivering = threads.submit(engine.deliver)

        # Before an attempt at those who hang could time out.
        eventually(lambda: len(hooks.of("/alive")) == 30, within_s=engine.context.settings.talk_deliver_s - 1)
        engine.context.leaving.set()

    engine.context.leaving.clear()
    assert delivering.result(60)["delivered"] == 30


def test_a_host_that_only_fails_gets_one_attempt_at_a_time_and_one_that_takes_all_gets_more(engine: Engine) -> None:
    many(engine, 9, "http://127.0.0.1:9/in", "dead")
    sending = Round()
    _, sent = deliver._claim(engine.context, 64)

    def room() -> int:
        """How many may be under way before the host has its share."""
        while sending.has_room_for(sent[0].due):
            sending.begin(Future(), sent[0])
        return len([sending.end(post) for post in list(sending.under_way)])

    assert room() == PER_HOST
    for kind in (ReplyKind.HTTP, ReplyKind.TIMEOUT, ReplyKind.BUSY, ReplyKind.HTTP, ReplyKind.CONNECT):
        sending.note("dead", kind)
    assert room() == PER_HOST
    sending.note("dead", ReplyKind.HTTP)
    assert room() == 1
    sending.note("dead", ReplyKind.OK)
    assert room() == AHEAD


def test_what_waits_for_one_project_s_share_keeps_no_other_from_its_host(engine: Engine) -> None:
    many(engine, 2, "http://127.0.0.1:9/in", "shared")
    sending = Round()
    _, (first, second) = deliver._claim(engine.context, 64)
    elsewhere = replace(first, due=replace(first.due, host="elsewhere"))
    while sending.has_room_for(elsewhere.due):
        host = f"host{len(sending.under_way)}"
        sending.begin(Future(), replace(first, due=replace(first.due, host=host)))

    sending.hold(second)

    assert sending.busy() == deliveries.Skip(set(), {engine.project_id})
    assert sending.take_held() == [second]


def test_a_host_that_has_the_name_of_a_project_keeps_it_from_nothing(engine: Engine) -> None:
    many(engine, 2, "http://127.0.0.1:9/in", "receiver")

    assert deliver._claim(engine.context, 1, deliveries.Skip(hosts={engine.project_id}))[0] == 1
    assert deliver._claim(engine.context, 1, deliveries.Skip(projects={engine.project_id}))[0] == 0


def test_what_waits_too_long_for_a_hanging_host_is_put_back(engine: Engine, hooks: Hooks) -> None:
    many(engine, 20, hooks.url("/dead"), "127.0.0.1")
    hooks.hold("/dead")

    def put_back() -> list[Delivery]:
        return [row for row in engine.rows(Delivery) if row.claim is None]

    with ThreadPoolExecutor(1) as threads:
        delivering = threads.submit(engine.deliver)
        eventually(lambda: len(hooks.of("/dead")) == PER_HOST, within_s=10)
        rows = eventually(put_back, within_s=10)
        hooks.held["/dead"].set()
        delivering.result(60)

    assert len(rows) == 20 - PER_HOST
    assert {row.due_at for row in rows} == {engine.clock() + timedelta(seconds=deliver.BUSY_S)}


def test_what_was_held_too_long_is_put_back_though_there_is_room_by_now(engine: Engine) -> None:
    """Or its attempt would outlive its claim, and another worker send it at the same time."""
    many(engine, 1, "http://127.0.0.1:9/in", "slow")
    _, (sent,) = deliver._claim(engine.context, 64)
    sending = Round(held=[replace(sent, since=sent.since - deliver.HELD_S)])

    deliver._send(engine.context, sending)

    assert (sending.under_way, sending.held) == ({}, [])
    assert [row.claim for row in engine.rows(Delivery)] == [None]


def test_one_receiver_gets_all_of_a_long_backlog_in_one_go(engine: Engine, hooks: Hooks) -> None:
    many(engine, 200, hooks.url("/hook"), "127.0.0.1")

    assert engine.deliver() == {"delivered": 200, "failed": 0}


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
    many(engine, 1, "http://127.0.0.1:9/in", "dead")
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
