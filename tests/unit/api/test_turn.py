import asyncio
import threading
from contextlib import suppress
from functools import partial

import pytest

from api.errors import RateLimited
from api.turn import Turn


def test_turns_are_taken_one_after_another() -> None:
    two, met = threading.Barrier(2), list[int]()

    def work() -> None:
        with suppress(threading.BrokenBarrierError):
            met.append(two.wait(0.1))

    async def crowd() -> None:
        turn = Turn()
        await asyncio.gather(*(turn.take(f"prj_{number}", work) for number in range(4)))

    asyncio.run(crowd())

    assert met == []


def test_who_waits_too_long_for_a_turn_is_told_so_and_the_next_goes_on() -> None:
    begun, ended = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        assert ended.wait(30)

    async def follow() -> str:
        turn = Turn(wait_s=0.05)
        first = asyncio.create_task(turn.take("prj_1", hold))
        await asyncio.to_thread(begun.wait, 30)
        try:
            with pytest.raises(RateLimited, match="waited too long"):
                await turn.take("prj_1", lambda: "never")
        finally:
            ended.set()
        await first
        assert turn.places.open == 0
        return await turn.take("prj_1", lambda: "done")

    assert asyncio.run(follow()) == "done"


def test_of_one_project_half_may_wait() -> None:
    turn = Turn(4)
    turn.places.add("prj_1", 2)

    with pytest.raises(RateLimited, match="for this project"):
        asyncio.run(turn.take("prj_1", lambda: None))
    assert asyncio.run(turn.take("prj_2", lambda: "done")) == "done"


def test_projects_take_turns() -> None:
    served: list[str] = []

    async def crowd() -> None:
        turn = Turn()
        names = ["busy", "busy", "busy", "calm", "quiet"]
        await asyncio.gather(*(turn.take(name, partial(served.append, name)) for name in names))

    asyncio.run(crowd())

    assert served == ["busy", "busy", "calm", "quiet", "busy"]


def test_who_goes_away_before_its_turn_holds_up_nobody() -> None:
    begun, ended = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        assert ended.wait(30)

    async def crowd() -> str:
        turn = Turn()
        first = asyncio.create_task(turn.take("prj_1", hold))
        await asyncio.to_thread(begun.wait, 30)
        gone = asyncio.create_task(turn.take("prj_2", lambda: "never"))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.wait([gone])
        ended.set()
        await first
        assert turn.places.open == 0
        return await asyncio.wait_for(turn.take("prj_3", lambda: "done"), 30)

    assert asyncio.run(crowd()) == "done"


def test_who_goes_away_just_when_its_turn_has_come_passes_it_on() -> None:
    async def crowd() -> str:
        turn = Turn()
        await turn._come("prj_1")
        gone = asyncio.create_task(turn.take("prj_2", lambda: "never"))
        await asyncio.sleep(0)
        turn._pass_on()
        gone.cancel()
        await asyncio.wait([gone])
        assert gone.cancelled()
        return await asyncio.wait_for(turn.take("prj_3", lambda: "done"), 30)

    assert asyncio.run(crowd()) == "done"
