"""Who is started next: priorities, projects in turn, age, open and free targets only; and the limits in flight."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from random import Random
from threading import Barrier
from typing import Any

import pytest

from tests import factories
from tests.integration.engine.engine import MODEL, Engine, Killed
from worker.app import START
from worker.errors import Unavailable
from worker.flow import start, wake
from worker.flow.line import Line
from worker.models import JobInput
from worker.store import gates

OTHER = "gemini-4-carbon"
HIGH, NORMAL, LOW = range(3)


def add(engine: Engine, many: int, **values: Any) -> list[str]:
    """Queued jobs that nobody hinted yet, oldest first."""
    with engine.context.database.write() as session:
        name, project_id = values.pop("name", "x"), values.pop("project_id", engine.project_id)
        rows = [
            factories.job(project_id, id=f"job_{name}{number:04}", due_at=engine.clock(), **values)
            for number in range(many)
        ]
        session.add_all(rows)
        session.flush()
        session.add_all([JobInput(job_id=row.id, turn=1, body=b'{"input": "Say hello."}') for row in rows])
        return [row.id for row in rows]


def choose(engine: Engine, wanted: int) -> list[str]:
    chosen = engine.read(lambda session: wake.choose(engine.context, session, engine.clock(), wanted))
    return list(chosen)


def test_higher_priorities_go_first_and_the_oldest_of_all_now_and_then(engine: Engine) -> None:
    # Ids sort by creation: the low ones are the oldest here.
    low = add(engine, 20, name="a", priority=LOW)
    normal = add(engine, 20, name="b", priority=NORMAL)
    high = add(engine, 20, name="c", priority=HIGH)

    chosen = choose(engine, 32)

    assert [job_id for job_id in chosen if job_id in high] == high
    assert [job_id for job_id in chosen if job_id in low] == low[:4]
    assert len([job_id for job_id in chosen if job_id in normal]) == 8


def test_low_is_never_starved_by_a_stream_of_high(engine: Engine) -> None:
    (low,) = add(engine, 1, name="a", priority=LOW)
    random = Random(1)
    engine.context = replace(engine.context, chance=random.random)
    rounds = 0

    while True:
        rounds += 1
        add(engine, 1, name=f"z{rounds}", priority=HIGH)
        (chosen,) = choose(engine, 1)
        if chosen == low:
            break
        engine.change(chosen, status="completed", due_at=None)

    assert rounds < 60


def test_projects_take_turns_however_much_one_submits(engine: Engine) -> None:
    with engine.context.database.write() as session:
        quiet = factories.project(session, "quiet").id
    crowd, few = add(engine, 50, name="a"), add(engine, 2, name="b", project_id=quiet)

    chosen = choose(engine, 6)

    assert [job_id for job_id in chosen if job_id in few] == few
    assert [job_id for job_id in chosen if job_id in crowd] == crowd[:4]


def test_the_oldest_of_all_is_found_in_whatever_project(engine: Engine) -> None:
    with engine.context.database.write() as session:
        second = factories.project(session, "second").id
    add(engine, 3, name="b")
    (oldest,) = add(engine, 1, name="a", project_id=second)

    assert choose(engine, 1) == [oldest]


def test_closed_targets_do_not_stand_in_the_way_of_open_ones(engine: Engine) -> None:
    add(engine, 50, name="a", target=MODEL)
    behind = add(engine, 2, name="b", target=OTHER)
    with engine.context.database.write() as session:
        until = engine.clock() + timedelta(hours=1)
        gates.close(session, MODEL, reason="throttled", until=until, now=engine.clock(), closings=1)

    assert choose(engine, 8) == behind


def test_full_targets_do_not_stand_in_the_way_of_others(engine: Engine) -> None:
    engine.set(max_in_flight_per_target=1)
    add(engine, 50, name="a", target=MODEL)
    behind = add(engine, 2, name="b", target=OTHER)
    engine.start("job_a0000")

    assert choose(engine, 8) == behind


def test_a_closed_key_leaves_nothing_to_choose(engine: Engine) -> None:
    add(engine, 3)
    with engine.context.database.write() as session:
        gates.pause(session, gates.KEY, paused=True)

    assert choose(engine, 8) == []


def test_no_more_is_chosen_than_may_be_in_flight(engine: Engine) -> None:
    engine.set(max_in_flight=3)
    jobs = add(engine, 10)
    engine.start(jobs[0])

    assert len(choose(engine, 8)) == 2


def test_a_hinted_job_is_not_hinted_again_before_its_hint_is_old(engine: Engine) -> None:
    add(engine, 3)

    assert (wake.starts(engine.context), wake.starts(engine.context)) == (3, 0)
    engine.clock.advance(wake.HINT.total_seconds())
    assert wake.starts(engine.context) == 3


def test_the_queue_of_starts_is_never_longer_than_its_share(engine: Engine) -> None:
    add(engine, 100)

    for _ in range(4):
        engine.sweep(6)

    assert engine.context.sender.backlog(START) == wake.HINTED_STARTS


def test_a_submission_hints_itself_only_while_few_are_hinted(engine: Engine) -> None:
    jobs = engine.accept(*[engine.draft() for _ in range(wake.HINTED_STARTS + 10)]).jobs

    assert engine.context.sender.backlog(START) == wake.HINTED_STARTS
    due_now = [job for job in jobs if engine.job(job.id).due_at == engine.clock()]
    assert len(due_now) == 10


def test_who_finished_a_start_goes_on_with_the_next(engine: Engine) -> None:
    jobs = add(engine, 5)
    engine.clock.advance(1)

    line = Line(engine.context)
    line.join(jobs[0])

    assert start.run(engine.context, line) == dict.fromkeys(jobs, "started")


def test_one_round_serves_the_line_and_whoever_joins_it_is_seen(engine: Engine) -> None:
    first, second = add(engine, 2)
    line = Line(engine.context)

    assert [line.join(first), line.join(second)] == [True, False]
    with line.served():
        assert not line.leave()
        assert line.next(8) == [first, second]
        assert line.leave()
    assert line.join(first)


def test_whoever_is_told_of_is_picked_in_the_order_of_all(engine: Engine) -> None:
    engine.context = replace(engine.context, chance=lambda: 0.9)
    low, high = engine.submit(priority="low"), engine.submit(priority="high")
    line = Line(engine.context)

    line.join(low)
    line.join(high)

    assert line.next(1) == [high]
    assert line.next(1) == [low]


def test_an_old_message_does_not_shorten_a_wait_that_has_a_reason(engine: Engine) -> None:
    job_id = engine.submit()
    engine.change(job_id, due_at=engine.clock() + timedelta(seconds=60))
    line = Line(engine.context)

    line.join(job_id)

    assert line.next(8) == []
    assert engine.job(job_id).due_at == engine.clock() + timedelta(seconds=60)


def test_a_round_asks_for_no_more_than_it_can_begin_soon(engine: Engine) -> None:
    jobs = add(engine, 10)
    engine.clock.advance(wake.HINT.total_seconds())
    line = Line(engine.context)

    assert line.next(2) == jobs[:2]
    assert choose(engine, 10) == jobs[4:]


def test_a_line_whose_round_died_is_served_by_the_next(engine: Engine) -> None:
    line = Line(engine.context)
    assert line.join("job_x")

    with pytest.raises(Killed), line.served():
        raise Killed

    assert line.join("job_y")


def test_two_workers_never_pick_the_same_start(engine: Engine) -> None:
    jobs = add(engine, 5)
    engine.clock.advance(wake.HINT.total_seconds())
    one, other = Line(engine.context), Line(engine.context)

    assert [one.next(2), other.next(2)] == [jobs[:2], jobs[4:]]
    engine.clock.advance(wake.HINT.total_seconds())
    assert Line(engine.context).next(2) == jobs[:2]


def test_a_round_waits_for_a_database_that_is_away(engine: Engine) -> None:
    def away(*_: object) -> None:
        raise Unavailable("the database does not answer")

    line = Line(engine.context)
    line.join(engine.submit())
    engine.between("database").before.update(read=away, write=away)

    assert start.run(engine.context, line) == {}


@pytest.mark.parametrize("limit", ["max_in_flight", "max_in_flight_per_target"])
def test_limits_hold_however_many_start_at_once(engine: Engine, limit: str) -> None:
    engine.set(**{limit: 3})
    jobs = add(engine, 16)
    together = Barrier(8)

    def start(job_id: str) -> str:
        together.wait(30)
        return engine.start(job_id)

    with ThreadPoolExecutor(8) as threads:
        outcomes = list(threads.map(start, jobs))

    assert sorted(set(outcomes)) == ["nothing", "started"]
    assert outcomes.count("started") == 3
    assert engine.count("create") == 3


def test_a_job_that_ends_makes_room_for_the_next(engine: Engine) -> None:
    engine.set(max_in_flight=1)
    first, second = engine.submit(), engine.submit()
    assert [engine.start(first), engine.start(second)] == ["started", "nothing"]

    engine.finish(first)
    engine.poll()

    assert engine.start(second) == "started"


def test_open_actions_and_waiting_jobs_take_no_room(engine: Engine) -> None:
    engine.set(max_in_flight=1)
    tools = [{"type": "function", "name": "look", "parameters": {"type": "object"}}]
    asking = engine.started(tools=tools, input="[[sim: status=requires_action]]")
    engine.finish(asking)
    engine.poll()

    assert engine.status(asking) == "requires_action"
    assert engine.start(engine.submit()) == "started"


def test_limits_of_one_target_leave_the_others_alone(engine: Engine) -> None:
    engine.set(max_in_flight_per_target=1)
    jobs = [engine.submit(), engine.submit(), engine.submit(model=OTHER)]

    assert [engine.start(job_id) for job_id in jobs] == ["started", "nothing", "started"]
