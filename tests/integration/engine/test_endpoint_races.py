"""Endpoints that change while deliveries to them are under way: nothing is lost, nor held where nobody sends it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from threading import Barrier
from typing import Any

import pytest
import sqlalchemy as sa

from tests.integration.engine.engine import Engine
from tests.integration.engine.hooks import Hooks, Say
from tests.integration.engine.receiving import (
    DOWN,
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
from tests.waiting import eventually
from worker.flow import deliver, endpoints, health
from worker.models import Delivery, Event, WebhookEndpoint
from worker.webhooks.reply import Reply, ReplyKind


@pytest.mark.parametrize("statuses_in_turn", [(410, 204), (204, 410)])
def test_a_410_counts_also_beside_a_success(engine: Engine, hooks: Hooks, statuses_in_turn: tuple[int, int]) -> None:
    made = register(engine, hooks.url("/in"), "job.created")
    hooks.answers["/in"] = [Say(status) for status in statuses_in_turn]
    submitted(engine, 2)

    engine.deliver()
    engine.sweep()

    assert row(engine, made).disabled_reason == "gone"
    assert sorted(statuses(engine, made)) == ["delivered", "held"]


def test_what_fails_after_its_endpoint_was_enabled_is_not_held(engine: Engine, hooks: Hooks) -> None:
    made = disabled(engine, hooks, 1)
    hooks.answers["/in"] = [Say(500), Say(204)]
    held = hooks.hold("/in")
    deliver.again(engine.context, engine.project_id, to(engine, made)[0].id)

    with ThreadPoolExecutor(1) as threads:
        delivering = threads.submit(engine.deliver)
        eventually(lambda: hooks.of("/in"))
        change(engine, made, enabled=True)
        engine.sweep()
        held.set()
        delivering.result(30)
    rounds(engine, 2)

    assert statuses(engine, made) == ["delivered"]


@pytest.mark.parametrize("status", [410, 500])
def test_what_an_old_address_answers_is_not_held_against_the_new_one(engine: Engine, hooks: Hooks, status: int) -> None:
    made = register(engine, hooks.url("/old"), "job.created")
    hooks.answers["/old"] = [Say(status)]
    held = hooks.hold("/old")
    submitted(engine, 6)

    with ThreadPoolExecutor(1) as threads:
        delivering = threads.submit(engine.deliver)
        eventually(lambda: len(hooks.of("/old")) == 6)
        change(engine, made, url=hooks.url("/new"))
        held.set()
        delivering.result(30)
    rounds(engine, 1)

    found = row(engine, made)
    assert (found.disabled_at, found.failures) == (None, 0)
    assert statuses(engine, made) == ["delivered"] * 6
    assert len(hooks.of("/new")) == 6


def test_at_a_new_address_a_paused_endpoint_begins_anew(engine: Engine, hooks: Hooks) -> None:
    made = paused(engine, hooks)

    change(engine, made, url=hooks.url("/new"))
    rounds(engine, 1)

    found = row(engine, made)
    assert (found.failures, found.failing_since) == (0, None)
    assert len(hooks.of("/new")) >= 20
    assert "held" not in statuses(engine, made)


def test_a_group_that_is_recorded_one_by_one_stops_a_sick_endpoint_all_the_same(engine: Engine, hooks: Hooks) -> None:
    made = register(engine, hooks.url("/in"), "job.created")
    hooks.answers["/in"] = DOWN
    submitted(engine, 2)
    _, sent = deliver._claim(engine.context, 64)
    answered = [(one, Reply(ReplyKind.HTTP, 500)) for one in sent]
    age(engine, made, failures=health.BREAKS_AT)

    # What cannot be written fails its group.
    bad = replace(answered[0][1], snippet=None)  # type: ignore[arg-type]
    stopped = deliver._record(engine.context, [(sent[0], bad), answered[1]])

    assert stopped == {made.endpoint.id}


def test_a_paused_endpoint_is_not_tried_before_it_wants_to_be(engine: Engine, hooks: Hooks) -> None:
    made = register(engine, hooks.url("/in"), "job.created")
    hooks.answers["/in"] = [Say(429, {"Retry-After": "600"})]
    submitted(engine, health.BREAKS_AT)
    engine.deliver()
    submitted(engine, 1)
    asked = len(hooks.of("/in"))

    rounds(engine, 2, after_s=250)
    assert len(hooks.of("/in")) == asked
    rounds(engine, 1, after_s=100)

    assert len(hooks.of("/in")) == asked + 1
    assert health.is_paused(row(engine, made))


@contextmanager
def under_way(engine: Engine, hooks: Hooks, status: int) -> Iterator[None]:
    """Meanwhile one delivery is on its way, and will be answered so."""
    hooks.answers["/in"] = [Say(status), Say(204)]
    held = hooks.hold("/in")
    submitted(engine, 1)
    with ThreadPoolExecutor(1) as threads:
        delivering = threads.submit(engine.deliver)
        eventually(lambda: hooks.of("/in"))
        yield
        held.set()
        delivering.result(30)


def test_what_fails_while_its_endpoint_is_disabled_is_held(engine: Engine, hooks: Hooks) -> None:
    made = register(engine, hooks.url("/in"), "job.created")

    with under_way(engine, hooks, 500):
        change(engine, made, enabled=False)
        engine.sweep()
    engine.sweep()
    assert statuses(engine, made) == ["held"]
    change(engine, made, enabled=True)
    rounds(engine, 1)

    assert statuses(engine, made) == ["delivered"]


@pytest.mark.parametrize("status", [204, 500])
def test_what_is_under_way_to_a_deleted_endpoint_ends_there(engine: Engine, hooks: Hooks, status: int) -> None:
    made = register(engine, hooks.url("/in"), "job.created")

    with under_way(engine, hooks, status):
        endpoints.remove(engine.context, engine.project_id, made.endpoint.id)
        engine.sweep()
        engine.sweep()
    rounds(engine, 2)

    assert (statuses(engine, made), len(hooks.of("/in"))) == (["cancelled"], 1)
    assert engine.rows(WebhookEndpoint) == []


def test_a_delivery_that_is_asked_for_while_under_way_goes_once_more(engine: Engine, hooks: Hooks) -> None:
    made = register(engine, hooks.url("/in"), "job.created")

    with under_way(engine, hooks, 500):
        (found,) = to(engine, made)
        deliver.again(engine.context, engine.project_id, found.id)
    engine.deliver()

    assert [got.headers["webhook-id"] for got in hooks.of("/in")] == [found.event_id] * 2
    assert statuses(engine, made) == ["delivered"]


def test_two_workers_make_one_try_at_a_paused_endpoint(engine: Engine, hooks: Hooks) -> None:
    made = register(engine, hooks.url("/in"), "job.created")
    barrier = Barrier(2)

    def claim() -> int:
        barrier.wait(30)
        return len(deliver._claim(engine.context, 3)[1])

    for _ in range(10):
        submitted(engine, 6)
        age(engine, made, failures=health.BREAKS_AT, due_at=engine.clock())
        with ThreadPoolExecutor(2) as threads:
            tries = [threads.submit(claim) for _ in range(2)]
            assert sum(one.result(30) for one in tries) == 1


def test_an_endpoint_is_disabled_once_whoever_saw_it_fail(engine: Engine, hooks: Hooks) -> None:
    made = register(engine, hooks.url("/in"), "job.created")
    witness = register(engine, hooks.url("/witness"), "endpoint.disabled")
    submitted(engine, 2)
    age(engine, made, failing_since=engine.clock() - health.GIVES_UP_AFTER, failures=1)
    sent = [deliver._claim(engine.context, 1)[1] for _ in range(2)]
    barrier = Barrier(2)

    def record(one: Any) -> set[str]:
        barrier.wait(30)
        return deliver._record(engine.context, [(one, Reply(ReplyKind.HTTP, 500))])

    with ThreadPoolExecutor(2) as threads:
        stopped = list(threads.map(record, [one for (one,) in sent]))

    assert stopped == [{made.endpoint.id}] * 2
    assert [one.event_type for one in to(engine, witness)] == ["endpoint.disabled"]


@pytest.mark.parametrize("changes", [{"enabled": False}, {"enabled": True}, {"events": ["job.failed"]}])
def test_what_an_owner_changes_while_answers_are_recorded_stays(
    engine: Engine, hooks: Hooks, changes: dict[str, Any]
) -> None:
    made = register(engine, hooks.url("/in"), "job.created")
    submitted(engine, 10)
    _, sent = deliver._claim(engine.context, 64)
    barrier = Barrier(2)

    def record() -> None:
        barrier.wait(30)
        for one in sent:
            deliver._record(engine.context, [(one, Reply(ReplyKind.HTTP, 500))])

    def alter() -> None:
        barrier.wait(30)
        change(engine, made, **changes)

    with ThreadPoolExecutor(2) as threads:
        for running in [threads.submit(record), threads.submit(alter)]:
            running.result(30)

    found = row(engine, made)
    assert found.failures == 10
    assert (found.disabled_at is None) == changes.get("enabled", True)
    assert found.events == changes.get("events", ["job.created"])


def test_what_was_forgotten_while_it_was_asked_for_is_not_sent_empty(engine: Engine, hooks: Hooks) -> None:
    made = register(engine, hooks.url("/in"), "job.created")
    engine.submit(webhook_url=hooks.url("/own"), webhook_events=["job.created"])
    with engine.context.database.write() as session:
        session.execute(sa.update(Event).values(payload=None))

    engine.deliver()

    assert {one.status for one in engine.rows(Delivery)} == {"cancelled"}
    assert (len(to(engine, made)), hooks.got) == (1, [])
