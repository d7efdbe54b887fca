"""Polling: what an answer may change, what it never changes, and who is asked when."""

from datetime import timedelta

import pytest

from tests.integration.engine.engine import AGENT, Engine
from worker.store import claims, gates, moments

TROUBLE = [
    {"status": 401},
    {"status": 402},
    {"status": 403},
    {"status": 500},
    {"status": 503},
    {"kind": "html"},
    {"kind": "close"},
    {"kind": "broken"},
    {"kind": "truncated"},
]


@pytest.mark.parametrize("fault", TROUBLE, ids=lambda fault: str(next(iter(fault.values()))))
def test_trouble_changes_nothing_but_the_next_look(engine: Engine, fault: dict[str, object]) -> None:
    job_id = engine.started()
    engine.poll()
    before = engine.job(job_id)
    engine.control.fault("get", **fault)  # type: ignore[arg-type]

    tally = engine.poll()

    after = engine.job(job_id)
    assert (tally["trouble"], tally["running"]) == (1, 0)
    assert (after.status, after.upstream_status, after.mark) == (before.status, before.upstream_status, before.mark)
    assert (after.missing, after.changed_at, after.polls) == (0, before.changed_at, before.polls + 1)
    assert after.due_at == engine.clock() + timedelta(seconds=10)
    engine.control.clear_faults()
    engine.finish(job_id)
    engine.poll()
    assert engine.status(job_id) == "completed"


def test_a_429_closes_polling_and_stops_the_batch(engine: Engine) -> None:
    one, other = engine.started(), engine.started()
    engine.control.fault("get", status=429, retry_after_s=20, count=2)

    engine.poll()

    gate = engine.gate(gates.POLL)
    assert gate is not None
    assert gate.closed_until == engine.clock() + timedelta(seconds=20)
    assert engine.poll()["claimed"] == 0
    asked = engine.count("get")
    assert engine.poll(9)["claimed"] == 0
    assert engine.count("get") == asked
    assert engine.poll(1)["running"] == 2
    assert [engine.status(job_id) for job_id in (one, other)] == ["in_progress"] * 2
    gate = engine.gate(gates.POLL)
    assert gate is not None
    assert gate.reason is None


@pytest.mark.parametrize(("wish_s", "closed_s"), [(None, 5), (1, 5), (3600, 60)])
def test_polling_is_closed_for_five_seconds_to_a_minute(engine: Engine, wish_s: float | None, closed_s: int) -> None:
    engine.started()
    engine.control.fault("get", **{"status": 429} | ({} if wish_s is None else {"retry_after_s": wish_s}))  # type: ignore[arg-type]

    engine.poll()

    gate = engine.gate(gates.POLL)
    assert gate is not None
    assert gate.closed_until == engine.clock() + timedelta(seconds=closed_s)


def test_what_a_throttled_batch_did_not_ask_is_due_when_the_gate_opens(engine: Engine) -> None:
    jobs = [engine.started() for _ in range(3)]
    engine.control.fault("get", status=429, retry_after_s=20, target=engine.job(jobs[0]).interaction_id)
    hung = [engine.job(job_id).interaction_id for job_id in jobs[1:]]
    for interaction_id in hung:
        engine.control.fault("get", kind="slow", delay_s=3, target=interaction_id)

    engine.poll()

    rows = [engine.job(job_id) for job_id in jobs[1:]]
    assert [(row.claim, row.due_at) for row in rows] == [(None, engine.clock() + timedelta(seconds=20))] * 2


def test_a_shut_gate_is_not_waited_at(engine: Engine) -> None:
    engine.started()
    engine.control.fault("get", status=429, count=1)
    engine.poll()
    database = engine.between("database")

    engine.poll(1)

    assert len(database.calls) <= 2


def test_polling_goes_on_while_the_next_row_falls_due_within_a_second(engine: Engine) -> None:
    engine.started()
    engine.clock.advance(0.5)
    engine.started()

    assert engine.poll(9.5)["claimed"] == 2
    assert engine.count("get") == 2


def missing(engine: Engine, after_s: float, times: int, apart_s: float) -> str:
    """A job whose interaction is unknown upstream so often, the first time so long after its create."""
    job_id = engine.started(agent=AGENT)
    engine.control.fault("get", status=404, code="not_found")
    engine.poll(after_s)
    for _ in range(times - 1):
        engine.poll(apart_s)
    return job_id


def test_five_404s_over_five_minutes_lose_an_interaction_of_ten_minutes(engine: Engine) -> None:
    job_id = missing(engine, 400, 4, 75)
    assert (engine.status(job_id), engine.job(job_id).missing) == ("in_progress", 4)

    engine.poll(75)

    assert (engine.status(job_id), engine.error(job_id)) == ("failed", "interaction_lost")
    assert (engine.job(job_id).error or {})["retryable"] is True


def test_404s_within_ten_minutes_of_the_create_lose_nothing(engine: Engine) -> None:
    job_id = missing(engine, 10, 10, 65)
    assert engine.status(job_id) == "in_progress"

    engine.poll(10)

    assert engine.status(job_id) == "failed"


def test_five_404s_within_five_minutes_lose_nothing(engine: Engine) -> None:
    job_id = missing(engine, 700, 6, 50)

    assert engine.status(job_id) == "in_progress"


def test_an_answer_between_404s_begins_the_count_anew(engine: Engine) -> None:
    job_id = missing(engine, 700, 4, 100)
    engine.control.clear_faults()
    engine.poll(100)
    assert (engine.job(job_id).missing, engine.job(job_id).missing_since) == (0, None)

    engine.control.fault("get", status=404)
    engine.poll(100)

    assert engine.status(job_id) == "in_progress"


def test_trouble_between_404s_neither_counts_nor_clears(engine: Engine) -> None:
    job_id = missing(engine, 700, 4, 100)
    engine.control.clear_faults()
    engine.control.fault("get", status=500, count=1)
    engine.control.fault("get", status=404)

    engine.poll(100)
    assert (engine.status(job_id), engine.job(job_id).missing) == ("in_progress", 4)
    engine.poll(100)

    assert engine.status(job_id) == "failed"


def test_an_unknown_status_is_polled_on(engine: Engine) -> None:
    job_id = engine.started(input="[[sim: running=pondering]]")

    engine.poll()

    assert (engine.status(job_id), engine.job(job_id).upstream_status) == ("in_progress", "pondering")
    engine.finish(job_id)
    engine.poll()
    assert engine.status(job_id) == "completed"


def test_a_run_without_change_is_told_as_stalled_once(engine: Engine) -> None:
    job_id = engine.started(webhook_url="https://hooks.example/in", webhook_events=["job.stalled"])
    engine.poll()
    engine.poll(590)
    assert "job.stalled" not in engine.events(job_id)

    for _ in range(3):
        engine.poll()

    assert engine.events(job_id) == ["job.created", "job.started", "job.stalled"]
    assert len(engine.deliveries(job_id)) == 1
    assert engine.status(job_id) == "in_progress"
    engine.finish(job_id)
    engine.poll()
    assert [event.sequence for event in engine.event_rows(job_id)] == [1, 2, 3, 4]


def test_a_run_that_goes_on_changing_is_never_stalled(engine: Engine) -> None:
    job_id = engine.started(agent=AGENT, timeout_seconds=86_400)

    for _ in range(5):
        engine.poll(1700)

    assert "job.stalled" not in engine.events(job_id)


def test_a_poller_that_died_is_replaced_when_its_claim_runs_out(engine: Engine) -> None:
    job_id = engine.started()
    engine.finish(job_id)
    engine.pass_time(10)
    with engine.context.database.write() as session:
        until = engine.clock() + timedelta(seconds=15)
        claims.polls(session, claim="dead", now=engine.clock(), until=until, limit=1)

    assert engine.poll(13)["claimed"] == 0
    assert engine.poll(2)["ended"] == 1

    assert engine.status(job_id) == "completed"


def test_only_an_answer_that_can_be_relied_on_counts_as_a_sign_of_life(engine: Engine) -> None:
    job_id = engine.started()
    engine.control.fault("get", status=500, count=1)

    def last_heard() -> object:
        return engine.read(moments.all_moments).get(moments.UPSTREAM)

    engine.poll()
    assert last_heard() is None
    engine.poll()
    assert last_heard() == engine.clock()
    engine.finish(job_id)
    engine.poll()
    assert last_heard() == engine.clock()


def test_polls_lie_apart_as_the_targets_schedule_says(engine: Engine) -> None:
    engine.set(poll_agent_start_s=5, poll_agent_factor=1.4, poll_agent_cap_s=30)
    job_id = engine.started(agent=AGENT)
    waits = []

    for _ in range(9):
        due_at = engine.job(job_id).due_at
        assert due_at is not None
        waits.append(round((due_at - engine.clock()).total_seconds(), 1))
        engine.poll(waits[-1])

    assert waits == [5, 7, 9.8, 13.7, 19.2, 26.9, 30, 30, 30]
