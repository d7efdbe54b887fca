"""No receiver delays another: how much of a round of deliveries goes to one host, or is one project's."""

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from tests import factories
from tests.integration.engine.engine import Engine
from tests.integration.engine.hooks import Hooks
from tests.waiting import eventually
from worker import context as contexts
from worker.flow import deliver
from worker.flow.sending import AHEAD, BATCH, PER_HOST, Round
from worker.models import Delivery
from worker.settings import SLOT_WAIT_S
from worker.store import deliveries, projects
from worker.webhooks import signing
from worker.webhooks.egress import Egress, Limits
from worker.webhooks.reply import ReplyKind

LATE_S = 45.0
"""By then whoever does not hang has been sent all, on the slowest of machines; attempts at those who do still last."""


@pytest.fixture
def endless(engine: Engine) -> Iterator[Engine]:
    """On the real clock; an attempt at a receiver that hangs lasts longer than any test waits."""
    loop, whole = engine.context.loop, engine.context

    async def patient() -> Egress:
        return Egress(whole.policy, "1.2.3", limits=Limits(total_s=2 * LATE_S))

    egress = loop.run(patient(), 20)
    engine.context = replace(whole, clock=contexts.utc_now, egress=egress)
    engine.set(claim_deliver_s=3 * LATE_S)
    yield engine
    loop.run(egress.close(), 20)


def many(engine: Engine, number: int, url: str, host: str, project_id: str | None = None) -> None:
    """Deliveries of one job that are due, all to one receiver."""
    with engine.context.database.write() as session:
        job = factories.job(project_id or engine.project_id, status="completed", finished_at=engine.clock())
        session.add(job)
        session.flush()
        for _ in range(number):
            factories.delivery(session, job, url, host=host, due_at=engine.clock() - timedelta(hours=1))


def test_a_receiver_that_hangs_delays_nobody_else(endless: Engine, hooks: Hooks) -> None:
    engine = endless
    # Of the dead more than a batch, all due before the others.
    many(engine, 2 * BATCH, hooks.url("/dead"), "127.0.0.1")
    many(engine, 100, hooks.url("/alive", "localhost"), "localhost")
    hooks.hold("/dead")

    with ThreadPoolExecutor(1) as threads:
        delivering = threads.submit(engine.deliver)
        eventually(lambda: len(hooks.of("/alive")) == 100, within_s=LATE_S)
        eventually(lambda: len(hooks.of("/dead")) >= PER_HOST)
        asked = len(hooks.of("/dead"))
        claimed = [row for row in engine.rows(Delivery) if row.host == "127.0.0.1" and row.claim is not None]
        hooks.held["/dead"].set()
        delivering.result(90)

    assert asked == PER_HOST
    assert len(claimed) <= BATCH


def stranger(engine: Engine) -> str:
    """Another project."""
    with engine.context.database.write() as session:
        secret = engine.context.vault.seal(signing.new_secret())
        return projects.create_project(session, "strangers", sealed_secret=secret, now=engine.clock()).id


def test_at_a_host_that_projects_share_none_waits_for_another_s(engine: Engine, hooks: Hooks) -> None:
    engine.context = replace(engine.context, clock=contexts.utc_now)
    many(engine, 2 * BATCH, hooks.url("/dead"), "127.0.0.1", stranger(engine))
    many(engine, 30, hooks.url("/alive"), "127.0.0.1")
    hooks.hold("/dead")

    with ThreadPoolExecutor(1) as threads:
        delivering = threads.submit(engine.deliver)
        # Before an attempt at those who hang could time out.
        eventually(lambda: len(hooks.of("/alive")) == 30, within_s=engine.context.settings.talk_deliver_s - 1)
        engine.context.leaving.set()
        hooks.held["/dead"].set()
        delivering.result(60)

    engine.context.leaving.clear()


@contextmanager
def silent() -> Iterator[tuple[int, Callable[[], None]]]:
    """A port on which connections are made and nobody answers, at every address of loopback; and how that ends."""
    with socket.create_server(("0.0.0.0", 0), backlog=1024) as server:
        yield int(server.getsockname()[1]), server.close


@pytest.mark.parametrize("are_strangers", [False, True])
def test_many_receivers_that_hang_delay_nobody_else(endless: Engine, hooks: Hooks, *, are_strangers: bool) -> None:
    """Eleven of one's own; of another project as many as it likes."""
    engine = endless
    number, owner = (11, engine.project_id)
    if are_strangers:
        number, owner = (60, stranger(engine))

    with ThreadPoolExecutor(1) as threads, silent() as (port, hang_up):
        for host in range(2, 2 + number):
            many(engine, 16, f"http://127.0.0.{host}:{port}/", f"127.0.0.{host}", owner)
        many(engine, 30, hooks.url("/alive", "localhost"), "localhost")
        delivering = threads.submit(engine.deliver)

        # Before an attempt at those who hang could time out.
        eventually(lambda: len(hooks.of("/alive")) == 30, within_s=LATE_S)
        engine.context.leaving.set()
        hang_up()

    engine.context.leaving.clear()
    assert delivering.result(90)["delivered"] == 30


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
        sending.note(sent[0].due.lane, kind)
    assert room() == PER_HOST
    sending.note(sent[0].due.lane, ReplyKind.HTTP)
    assert room() == 1
    sending.note(sent[0].due.lane, ReplyKind.OK)
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


def test_who_has_enough_at_a_host_keeps_no_other_from_it(engine: Engine) -> None:
    many(engine, 2, "http://127.0.0.1:9/in", "shared")

    assert deliver._claim(engine.context, 1, deliveries.Skip(lanes={("prj_other", "shared")}))[0] == 1
    assert deliver._claim(engine.context, 1, deliveries.Skip(lanes={(engine.project_id, "shared")}))[0] == 0
    assert deliver._claim(engine.context, 1, deliveries.Skip(projects={engine.project_id}))[0] == 0


def test_what_waits_too_long_for_a_hanging_host_is_put_back(engine: Engine, hooks: Hooks) -> None:
    many(engine, 20, hooks.url("/dead"), "127.0.0.1")
    hooks.hold("/dead")

    def put_back() -> list[Delivery]:
        return [row for row in engine.rows(Delivery) if row.claim is None]

    with ThreadPoolExecutor(1) as threads:
        delivering = threads.submit(deliver.run, engine.context)
        eventually(lambda: len(hooks.of("/dead")) == PER_HOST)
        rows = eventually(put_back)
        hooks.held["/dead"].set()
        delivering.result(60)

    assert len(rows) == 20 - PER_HOST
    assert {row.due_at for row in rows} == {engine.clock() + timedelta(seconds=deliver.BUSY_S)}


def test_what_was_held_too_long_is_put_back_though_there_is_room_by_now(engine: Engine) -> None:
    """Or its attempt would outlive its claim, and another worker send it at the same time."""
    many(engine, 1, "http://127.0.0.1:9/in", "slow")
    _, (sent,) = deliver._claim(engine.context, 64)
    sending = Round(held=[replace(sent, since=sent.since - deliver.held_s(engine.context.settings))])

    deliver._send(engine.context, sending)

    assert (sending.under_way, sending.held) == ({}, [])
    assert [row.claim for row in engine.rows(Delivery)] == [None]


@pytest.mark.parametrize(("claim_s", "talk_s"), [(20, 15), (20, 17.5), (120, 60)])
def test_what_was_held_for_its_longest_and_is_sent_is_answered_within_its_claim(
    engine: Engine, claim_s: float, talk_s: float
) -> None:
    settings = engine.context.settings.model_copy(update={"claim_deliver_s": claim_s, "talk_deliver_s": talk_s})

    assert 0 < deliver.held_s(settings) + SLOT_WAIT_S + talk_s < claim_s


def test_one_receiver_gets_all_of_a_long_backlog_in_one_go(engine: Engine, hooks: Hooks) -> None:
    many(engine, 200, hooks.url("/hook"), "127.0.0.1")

    assert engine.deliver() == {"delivered": 200, "failed": 0}
