"""Endpoints that change while deliveries to them are under way: nothing is lost, nor held where nobody sends it."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from tests.integration.engine.engine import Engine
from tests.integration.engine.hooks import Hooks, Say
from tests.integration.engine.test_receivers import (
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
from worker.flow import deliver, health
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
    _, sent = deliver._claim(engine.context, 64, set())
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
