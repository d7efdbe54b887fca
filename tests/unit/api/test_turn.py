import asyncio
import threading
from contextlib import suppress

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
