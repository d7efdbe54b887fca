"""Gates and limits in a whole installation, by what the upstream saw of it: its own log of creates."""

import socket
from collections.abc import Iterator
from datetime import datetime
from time import time
from typing import Any

import pytest

from tests.stack import Stack
from tests.system.desk import Desk
from tests.waiting import eventually

MODEL, OTHER = "gemini-3.8-flash", "gemini-3.5-flash-lite"
IN_FLIGHT, OF_ONE = 8, 6
KEY = "the key"
PROBED_S = 45
"""The free probe asks every 30 s."""


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
    eventually(lambda: is_listening(stack.simulator_port), within_s=20, what="the simulator's start")


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_retry_after_is_obeyed_to_the_second_and_no_thread_sleeps(desk: Desk) -> None:
    held, free = desk.lane("held"), desk.lane("free")
    desk.control.fault("create", status=429, retry_after_s=4, target=MODEL, count=1)
    asked_at = time()
    jobs = desk.submit(1, held)
    gate = eventually(lambda: desk.closed(MODEL) or {}, within_s=10, what="the gate's closing")
    seen_at = time()

    jobs += desk.submit(7, held) + desk.submit(OF_ONE, free, model=OTHER)
    desk.await_completed(jobs)

    first_at = desk.created(held)[0]["created_at"]
    until = datetime.fromisoformat(gate["until"]).timestamp()
    assert gate["reason"] == "throttled"
    assert asked_at + 4 <= until <= seen_at + 4
    assert until - 0.001 <= first_at <= until + 2
    assert len(desk.created(held)) == 8
    assert max(one["created_at"] for one in desk.created(free)) < until
    assert max(step["duration_ms"] for step in desk.steps("job.start")) < 3_000
    assert desk.closed(MODEL) is None


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

    resumed_at = time()
    desk.command("gates", "resume", MODEL)
    desk.await_completed(waiting)
    assert desk.created(held)[0]["created_at"] < resumed_at + 10


def test_limits_hold_and_are_used_whatever_two_workers_start_at_once(desk: Desk) -> None:
    one, other = desk.lane("one"), desk.lane("other")

    # Long enough for the last of a crowd to begin before its first has ended, on a slow machine too.
    lasting = "[[sim: duration=1.5]]"
    desk.await_completed(desk.submit(10, one, input=lasting) + desk.submit(10, other, input=lasting, model=OTHER))

    created = desk.created(one, other)
    by_target = [most_at_once([run for run in created if run["target"] == target]) for target in (MODEL, OTHER)]
    assert len(created) == 20
    assert most_at_once(created) == IN_FLIGHT
    assert max(by_target) == OF_ONE


def test_a_refused_key_parks_every_job_and_once_it_works_all_go_on_by_themselves(desk: Desk, stack: Stack) -> None:
    lane = desk.lane("parked")
    change_key(stack, "another")
    jobs = desk.submit(4, lane) + desk.submit(4, lane, model=OTHER)

    gate = eventually(lambda: desk.closed(KEY) or {}, within_s=20, what="the key's closing")
    eventually(lambda: desk.statuses(jobs) == {"queued": 8}, within_s=10)
    assert (gate["reason"], desk.ready()["status"]) == ("unauthenticated", "degraded")
    assert f'nightdesk_gate_closed{{target="{KEY}"}} 1.0' in desk.metrics()
    assert desk.command("gates").startswith("all  ")

    change_key(stack, "simulated")
    eventually(lambda: desk.closed(KEY) is None, within_s=PROBED_S, what="the key's opening")
    desk.await_completed(jobs)

    assert [desk.job(job_id)["attempt"] for job_id in jobs] == [1] * 8
    assert len(desk.created(lane)) == 8
    assert f'nightdesk_gate_closed{{target="{KEY}"}} 0.0' in desk.metrics()
