"""Gates and limits in a whole installation, by what the upstream saw of it: its own log of creates."""

from collections.abc import Iterator
from datetime import UTC, datetime
from time import time
from typing import Any

import pytest
import sqlalchemy as sa
from sqlmodel import col

from tests.stack import Stack
from tests.system.desk import DONE_S, Desk
from tests.waiting import eventually
from worker.database import Database
from worker.dev.simulator.record import ENDED
from worker.models import Gate

MODEL, OTHER = "gemini-3.8-flash", "gemini-3.5-flash-lite"
IN_FLIGHT, OF_ONE = 8, 6
KEY = "the key"
LONG = "[[sim: duration=1000]]"
"""A run that ends when the test says so."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("gates")
    env = {
        "NIGHTDESK_MAX_IN_FLIGHT": str(IN_FLIGHT),
        "NIGHTDESK_MAX_IN_FLIGHT_PER_TARGET": str(OF_ONE),
        "NIGHTDESK_POLL_MODEL_START_S": "0.2",
        "NIGHTDESK_POLL_MODEL_CAP_S": "0.5",
        "NIGHTDESK_LOG_LEVEL": "info",
    }
    simulator = {"model_s": 0.3, "jitter": 0.0, "latency_s": 0.02, "state_path": str(folder / "runs")}
    with Stack(folder, workers=2, simulator=simulator, env=env) as running:
        yield running


def most_at_once(created: list[dict[str, Any]]) -> int:
    """How many of these ran at the same moment."""
    changes = sorted([(one["ends_at"], -1) for one in created] + [(one["created_at"], 1) for one in created])
    running = most = 0
    for _, change in changes:
        running += change
        most = max(most, running)
    return most


def change_key(stack: Stack, key: str) -> None:
    """The upstream takes this key and no other; its runs go on."""
    stack.kill("simulator")
    stack.start_simulator(api_key=key)
    stack.await_simulator()


def make_due(stack: Stack, target: str) -> None:
    """The time for which a gate was closed is over: nobody waits half a minute for the next free probe."""
    database = Database(stack.settings.database)
    with database.write() as session:
        session.execute(sa.update(Gate).where(col(Gate.target) == target).values(closed_until=datetime.now(UTC)))
    database.close()


def running(desk: Desk, *lanes: str) -> list[dict[str, Any]]:
    """What runs upstream now."""
    return [one for one in desk.created(*lanes) if one["status"] not in ENDED]


def throttled(desk: Desk, lane: str, retry_after_s: float) -> tuple[list[str], float]:
    """A job whose create was answered 429, and until when its target's gate is closed."""
    desk.control.fault("create", status=429, retry_after_s=retry_after_s, target=MODEL, count=1)
    asked_at = time()
    jobs = desk.submit(1, lane)
    gate = eventually(lambda: desk.closed(MODEL) or {}, what="the gate's closing")
    until = datetime.fromisoformat(gate["until"]).timestamp()
    assert gate["reason"] == "throttled"
    assert asked_at + retry_after_s <= until <= time() + retry_after_s
    return jobs, until


def test_retry_after_is_obeyed_to_the_second(desk: Desk) -> None:
    held = desk.lane("held")
    jobs, until = throttled(desk, held, 3)

    jobs += desk.submit(7, held)
    desk.await_completed(jobs)

    assert desk.created(held)[0]["created_at"] >= until - 0.001
    assert len(desk.created(held)) == 8
    assert desk.closed(MODEL) is None


def test_while_a_target_is_throttled_others_go_on_and_no_thread_sleeps(desk: Desk) -> None:
    held, free = desk.lane("held"), desk.lane("free")
    jobs, _ = throttled(desk, held, 600)
    jobs += desk.submit(7, held)

    desk.await_completed(desk.submit(OF_ONE, free, model=OTHER))

    eventually(lambda: desk.statuses(jobs) == {"queued": 8}, what="the end of the refused start")
    assert desk.created(held) == []
    starts = eventually(lambda: [one for one in desk.steps("job.start") if one.get("job_id") in jobs], what="its line")
    assert max(one["duration_ms"] for one in starts) < 60_000
    desk.command("gates", "resume", MODEL)
    desk.await_completed(jobs)


def test_a_paused_target_waits_while_others_and_what_runs_go_on(desk: Desk) -> None:
    running, held, free = (desk.lane(name) for name in ("running", "held", "free"))
    before = desk.submit(1, running, input="[[sim: duration=3]]")
    desk.await_created(1, running)

    assert desk.command("gates", "pause", MODEL) == f"{MODEL}: paused"
    waiting = desk.submit(3, held)
    desk.await_completed([*desk.submit(6, free, model=OTHER), *before])
    assert desk.statuses(waiting) == {"queued": 3}
    assert desk.created(held) == []
    assert desk.closed(MODEL) == {"target": MODEL, "reason": "paused", "until": None}
    assert desk.command("gates").split() == [MODEL, "paused", "by", "an", "operator"]

    desk.command("gates", "resume", MODEL)
    desk.await_completed(waiting)


def test_limits_hold_and_are_used_whatever_two_workers_start_at_once(desk: Desk) -> None:
    one, other = desk.lane("one"), desk.lane("other")

    jobs = desk.submit(10, one, input=LONG)
    eventually(lambda: len(running(desk, one)) == OF_ONE, what="as many of one target as may run")
    jobs += desk.submit(10, other, input=LONG, model=OTHER)
    eventually(lambda: len(running(desk, one, other)) == IN_FLIGHT, what="as many as may run")

    def are_done() -> bool:
        for run in running(desk, one, other):
            desk.control.direct(run["id"], finish=True)
        return desk.statuses(jobs) == {"completed": len(jobs)}

    eventually(are_done, within_s=DONE_S, what="the end of all jobs")
    created = desk.created(one, other)
    by_target = [most_at_once([run for run in created if run["target"] == target]) for target in (MODEL, OTHER)]
    assert len(created) == 20
    assert most_at_once(created) == IN_FLIGHT
    assert max(by_target) == OF_ONE


def test_a_refused_key_parks_every_job_and_once_it_works_all_go_on_by_themselves(desk: Desk, stack: Stack) -> None:
    lane = desk.lane("parked")
    change_key(stack, "another")
    jobs = desk.submit(4, lane) + desk.submit(4, lane, model=OTHER)

    gate = eventually(lambda: desk.closed(KEY) or {}, what="the key's closing")
    eventually(lambda: desk.statuses(jobs) == {"queued": 8})
    assert (gate["reason"], desk.ready()["status"]) == ("unauthenticated", "degraded")
    assert f'nightdesk_gate_closed{{target="{KEY}"}} 1.0' in desk.metrics()
    assert desk.command("gates").startswith("all  ")

    change_key(stack, "simulated")
    make_due(stack, KEY)
    eventually(lambda: desk.closed(KEY) is None, what="the key's opening")
    desk.await_completed(jobs)

    assert [desk.job(job_id)["attempt"] for job_id in jobs] == [1] * 8
    assert len(desk.created(lane)) == 8
    assert f'nightdesk_gate_closed{{target="{KEY}"}} 0.0' in desk.metrics()
