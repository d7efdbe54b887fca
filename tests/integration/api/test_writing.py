"""Group commit: many orders in one transaction, none lost and none spoilt by another."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from api import writer as writing
from api.desk import WALKS
from api.threads import MOST, OF_PROJECT, Threads, run_in_threadpool
from api.writer import Writer
from tests.integration.api.serving import Server, Tenant
from tests.waiting import eventually
from worker.context import Context
from worker.errors import IdempotencyReused, Invalid, Unavailable
from worker.flow.draft import prepare
from worker.flow.submit import Accepted, Order
from worker.store import jobs


def order(context: Context, project_id: str, *, key: str | None = None, jobs: int = 1, **fields: Any) -> Order:
    given = {"model": "gemini-3.8-flash", "input": "Say hello."} | fields
    drafts = [prepare(context, given, project_id=project_id, is_admin=True) for _ in range(jobs)]
    return Order(project_id, drafts, "/v1/jobs", key, str(fields))


def heavy(context: Context, project_id: str) -> Order:
    """An order that counts as 100 MB."""
    light = order(context, project_id)
    return replace(light, drafts=[replace(light.drafts[0], body=bytes(100_000_000))])


@asynccontextmanager
async def started(context: Context) -> AsyncIterator[Writer]:
    writer = Writer(context, asyncio.get_running_loop())
    writer.start()
    try:
        yield writer
    finally:
        await asyncio.to_thread(writer.stop)


async def outcomes(writer: Writer, orders: list[Order]) -> list[Any]:
    return await asyncio.gather(*(writer.submit(one) for one in orders), return_exceptions=True)


def is_stored(context: Context, outcome: Any) -> bool:
    assert isinstance(outcome, Accepted), outcome
    with context.database.read() as session:
        return all(jobs.get(session, job.id) is not None for job in outcome.jobs)


def test_each_order_of_a_group_has_its_own_outcome(server: Server) -> None:
    context, project_id = server.context, server.tenant().project_id

    async def run() -> list[Any]:
        async with started(context) as writer:
            return await outcomes(
                writer,
                [
                    order(context, project_id),
                    order(context, project_id, previous_job_id="job_unknown"),
                    order(context, project_id, key="k"),
                    order(context, project_id, key="k"),
                    order(context, project_id, key="k", input="Another."),
                    order(context, project_id, jobs=3),
                ],
            )

    found = asyncio.run(run())

    assert [type(outcome) for outcome in found] == [Accepted, Invalid, Accepted, Accepted, IdempotencyReused, Accepted]
    assert [found[2].replayed, found[3].replayed, found[2].jobs[0].id == found[3].jobs[0].id] == [False, True, True]
    assert all(is_stored(context, found[place]) for place in (0, 2, 5))


def test_one_row_that_cannot_be_written_spoils_no_other(server: Server) -> None:
    context, project_id = server.context, server.tenant().project_id
    orders = [order(context, project_id), order(context, "prj_unknown"), order(context, project_id)]

    async def run() -> list[Any]:
        async with started(context) as writer:
            return await outcomes(writer, orders)

    found = asyncio.run(run())

    assert [type(outcome) for outcome in found] == [Accepted, IntegrityError, Accepted]
    assert is_stored(context, found[0])
    assert is_stored(context, found[2])


def test_stopping_finishes_what_was_taken_and_takes_no_more(server: Server) -> None:
    context, project_id = server.context, server.tenant().project_id
    orders = [order(context, project_id) for _ in range(600)]

    async def run() -> tuple[list[Any], Any]:
        writer = Writer(context, asyncio.get_running_loop())
        waiting = asyncio.gather(*(writer.submit(one) for one in orders))
        await asyncio.sleep(0)
        writer.start()
        await asyncio.to_thread(writer.stop)
        late = await asyncio.gather(writer.submit(orders[0]), return_exceptions=True)
        return await waiting, late[0]

    found, late = asyncio.run(run())

    assert all(is_stored(context, outcome) for outcome in found)
    assert isinstance(late, Unavailable)


@pytest.mark.parametrize(
    ("limit", "make"),
    [
        (writing.MAX_WAITING // 2, order),
        (1, heavy),
    ],
)
def test_what_waits_of_one_project_is_bounded(
    sqlite_server: Server, limit: int, make: Callable[[Context, str], Order]
) -> None:
    context, project_id = sqlite_server.context, sqlite_server.tenant().project_id
    one = make(context, project_id)

    async def run() -> Any:
        writer = Writer(context, asyncio.get_running_loop())
        waiting = [asyncio.create_task(writer.submit(one)) for _ in range(limit)]
        await asyncio.sleep(0)
        last = await asyncio.gather(writer.submit(one), return_exceptions=True)
        for task in waiting:
            task.cancel()
        return last[0]

    assert isinstance(asyncio.run(run()), Unavailable)


def test_projects_take_turns(sqlite_server: Server) -> None:
    context = sqlite_server.context
    busy, calm = sqlite_server.tenant().project_id, sqlite_server.tenant().project_id
    batches = [order(context, busy, jobs=writing.MAX_JOBS) for _ in range(3)]
    ended: list[str] = []

    async def run() -> None:
        writer = Writer(context, asyncio.get_running_loop())

        async def submit(one: Order) -> None:
            await writer.submit(one)
            ended.append(one.project_id)

        tasks = [asyncio.create_task(submit(one)) for one in (*batches, order(context, calm))]
        await asyncio.sleep(0)
        writer.start()
        await asyncio.gather(*tasks)
        await asyncio.to_thread(writer.stop)

    asyncio.run(run())

    assert ended == [busy, calm, busy, busy]


def test_a_project_that_has_too_much_waiting_takes_the_room_of_no_other(sqlite_server: Server) -> None:
    context = sqlite_server.context
    busy, calm = sqlite_server.tenant().project_id, sqlite_server.tenant().project_id

    async def run() -> list[Any]:
        writer = Writer(context, asyncio.get_running_loop(), max_wait_s=0.0)
        first = asyncio.create_task(writer.submit(order(context, busy)))
        await asyncio.sleep(0)
        others = asyncio.gather(*(writer.submit(order(context, name)) for name in (busy, calm)), return_exceptions=True)
        await asyncio.sleep(0)
        writer.start()
        taken = [await first, *await others]
        await asyncio.to_thread(writer.stop)
        return taken

    assert [type(outcome) for outcome in asyncio.run(run())] == [Accepted, Unavailable, Accepted]


def test_while_the_first_waits_too_long_no_other_is_taken(sqlite_server: Server) -> None:
    context, project_id = sqlite_server.context, sqlite_server.tenant().project_id
    orders = [order(context, project_id) for _ in range(3)]

    async def run() -> list[Any]:
        writer = Writer(context, asyncio.get_running_loop(), max_wait_s=0.0)
        first = asyncio.create_task(writer.submit(orders[0]))
        await asyncio.sleep(0)
        (second,) = await outcomes(writer, orders[1:2])
        writer.start()
        taken = [await first, *await outcomes(writer, orders[2:])]
        await asyncio.to_thread(writer.stop)
        return [second, *taken]

    turned_away, *taken = asyncio.run(run())

    assert isinstance(turned_away, Unavailable)
    assert all(is_stored(context, outcome) for outcome in taken)


def test_an_order_whose_client_is_gone_is_written_all_the_same(sqlite_server: Server) -> None:
    context, project_id = sqlite_server.context, sqlite_server.tenant().project_id
    one = order(context, project_id)

    async def run() -> None:
        writer = Writer(context, asyncio.get_running_loop())
        task = asyncio.create_task(writer.submit(one))
        await asyncio.sleep(0)
        task.cancel()
        writer.start()
        await asyncio.to_thread(writer.stop)

    asyncio.run(run())

    assert is_stored(context, Accepted([one.drafts[0].job]))


def test_while_one_project_s_requests_wait_for_the_database_others_are_answered(sqlite_server: Server) -> None:
    busy, calm = sqlite_server.tenant(), sqlite_server.tenant()
    change = {"url": "https://hooks.example/in"}
    crowd = MOST + OF_PROJECT
    with ThreadPoolExecutor(crowd) as clients:
        with sqlite_server.context.database.write() as session:
            # SQLite has one who writes: nobody else can until this block ends.
            session.connection()
            asked = [clients.submit(busy.post, "/v1/webhooks", change) for _ in range(crowd)]
            eventually(lambda: sqlite_server.desk.threads.busy == OF_PROJECT)
            answers = [calm.get("/v1/jobs").status_code, sqlite_server.client().get("/readyz").status_code]
        statuses = {one.result().status_code for one in asked}

    assert answers == [200, 200]
    assert statuses == {201, 409}


def test_one_project_s_reads_leave_connections_to_others(server: Server, tenant: Tenant) -> None:
    begun, ended = threading.Semaphore(0), threading.Event()

    def hold() -> None:
        with server.context.database.read() as session:
            session.connection()
            begun.release()
            assert ended.wait(90)

    async def crowd() -> int:
        threads = Threads()
        threads.enter("prj_busy")
        busy = [asyncio.create_task(run_in_threadpool(hold)) for _ in range(2 * MOST)]
        try:
            for _ in range(OF_PROJECT):
                assert await asyncio.to_thread(begun.acquire, timeout=30)
            answer = await asyncio.to_thread(tenant.get, "/v1/jobs")
        finally:
            ended.set()
            await asyncio.gather(*busy)
        return answer.status_code

    assert asyncio.run(crowd()) == 200


def test_walks_of_many_projects_leave_connections_to_others(server: Server, tenant: Tenant) -> None:
    desk, begun, ended = server.desk, threading.Semaphore(0), threading.Event()

    def hold(session: Session) -> None:
        session.connection()
        begun.release()
        assert ended.wait(90)

    walking = [
        asyncio.run_coroutine_threadsafe(desk.walk(f"prj_{number}", hold), desk.writer._loop) for number in range(MOST)
    ]
    try:
        for _ in range(WALKS):
            assert begun.acquire(timeout=30)
        answers = [tenant.get("/v1/jobs").status_code, server.client().get("/readyz").status_code]
    finally:
        ended.set()
        for one in walking:
            one.result(60)

    assert answers == [200, 200]
