import asyncio
import threading
from collections.abc import Callable

from api.threads import MOST, OF_PROJECT, Threads, run_in_threadpool


def test_one_project_takes_its_share_of_the_threads_and_no_more() -> None:
    begun, ended = threading.Semaphore(0), threading.Event()

    def hold() -> str:
        begun.release()
        assert ended.wait(30)
        return "held"

    async def ask(threads: Threads, project_id: str, work: Callable[[], str]) -> str:
        threads.enter(project_id)
        return await run_in_threadpool(work)

    async def crowd() -> list[str]:
        threads = Threads()
        busy = [asyncio.create_task(ask(threads, "busy", hold)) for _ in range(2 * MOST)]
        try:
            for _ in range(OF_PROJECT):
                assert await asyncio.to_thread(begun.acquire, timeout=30)
            other = await asyncio.create_task(ask(threads, "calm", lambda: "done"))
            nobody_s = await run_in_threadpool(lambda: "done, too")
            assert threads.busy == OF_PROJECT
        finally:
            ended.set()
        assert await asyncio.gather(*busy) == ["held"] * (2 * MOST)
        assert threads.busy == 0
        return [other, nobody_s]

    assert asyncio.run(crowd()) == ["done", "done, too"]


def test_whoever_waits_for_a_thread_and_goes_away_leaves_it_to_the_next() -> None:
    ended = threading.Event()

    async def crowd() -> str:
        threads = Threads()
        threads.enter("prj_1")
        busy = [asyncio.create_task(run_in_threadpool(ended.wait, 30)) for _ in range(OF_PROJECT)]
        gone = asyncio.create_task(run_in_threadpool(str, "never"))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.wait([gone])
        ended.set()
        await asyncio.gather(*busy)
        return await run_in_threadpool(str, "done")

    assert asyncio.run(crowd()) == "done"
