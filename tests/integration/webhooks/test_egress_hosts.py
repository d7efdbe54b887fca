"""A slow receiver, or a slow zone, delays nobody but itself."""

import asyncio
import threading
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.integration.webhooks.listener import (
    OK,
    PATIENT,
    Listener,
    Names,
    answering,
    egress,
    hanging,
    listening,
    post,
)
from worker.webhooks.lookup import OF_SENDER, OF_ZONE, THREADS, SystemResolver, zone
from worker.webhooks.reply import Reply, ReplyKind

pytestmark = pytest.mark.anyio


async def test_twenty_posts_to_a_hanging_host_do_not_delay_a_post_to_another() -> None:
    async with (
        listening(hanging) as slow,
        listening(answering(OK)) as fast,
        egress(limits=replace(PATIENT, slot_wait_s=0.1), resolver=Names(["127.0.0.1"])) as out,
    ):
        stuck = [asyncio.create_task(post(out, f"http://slow.example:{slow.port}/")) for _ in range(20)]
        await slow.until(lambda: len(slow.requests) == 8)
        reply = await post(out, f"http://fast.example:{fast.port}/")
        turned_away = [await one for one in asyncio.as_completed(stuck[8:])]
        still = [task for task in stuck if not task.done()]
        await cancelled(stuck)

    assert reply.kind is ReplyKind.OK
    assert {one.kind for one in turned_away} == {ReplyKind.BUSY}
    assert still == stuck[:8]
    assert len(slow.requests) == 8


async def cancelled(tasks: list[asyncio.Task[Reply]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_hundreds_of_posts_to_hanging_hosts_do_not_delay_a_post_to_another() -> None:
    async with (
        listening(hanging) as slow,
        listening(answering(OK)) as fast,
        egress(resolver=Names(["127.0.0.1"])) as out,
    ):
        stuck = [asyncio.create_task(post(out, f"http://slow{i % 30}.example:{slow.port}/")) for i in range(240)]
        await slow.until(lambda: len(slow.requests) == 240)
        reply = await post(out, f"http://fast.example:{fast.port}/")
        await cancelled(stuck)

    assert reply.kind is ReplyKind.OK


async def test_a_busy_host_is_told_without_waiting_for_the_attempts_before() -> None:
    limits = replace(PATIENT, slot_wait_s=0.05, per_host=1)
    async with listening(hanging) as slow, egress(limits=limits) as out:
        stuck = asyncio.create_task(post(out, slow.url))
        await slow.until(lambda: len(slow.requests) == 1)
        reply = await post(out, slow.url)
        assert not stuck.done()
        await cancelled([stuck])

    assert (reply.kind, reply.status) == (ReplyKind.BUSY, None)
    assert len(slow.requests) == 1


async def test_posts_beyond_the_cap_are_sent_as_slots_become_free() -> None:
    at_once = most = 0

    async def counting(listener: Listener, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal at_once, most
        while True:
            await listener.take(reader)
            at_once += 1
            most = max(most, at_once)
            for _ in range(20):
                await asyncio.sleep(0)
            at_once -= 1
            writer.write(OK)

    async with listening(counting) as receiver, egress(limits=replace(PATIENT, per_host=3)) as out:
        replies = await asyncio.gather(*(post(out, receiver.url) for _ in range(30)))
        lanes = out._slots._lanes

    assert {reply.kind for reply in replies} == {ReplyKind.OK}
    assert (most, len(receiver.requests)) == (3, 30)
    assert lanes == {}


async def test_a_cancelled_post_gives_its_slot_back() -> None:
    async with listening(hanging) as slow, egress(limits=replace(PATIENT, per_host=1)) as out:
        stuck = asyncio.create_task(post(out, slow.url))
        await slow.until(lambda: len(slow.requests) == 1)
        await cancelled([stuck])

        assert out._slots._lanes == {}


async def test_a_zone_that_does_not_answer_holds_one_thread_and_delays_no_other_name() -> None:
    answer = threading.Event()
    lookups: list[str] = []

    def find(host: str) -> list[str]:
        lookups.append(host)
        if host == "stuck.example":
            answer.wait(60)
        return ["127.0.0.1"]

    resolver = SystemResolver(find)
    async with listening(answering(OK)) as fast, egress(resolver=resolver) as out:
        stuck = [asyncio.create_task(post(out, f"http://stuck.example:{fast.port}/")) for _ in range(40)]
        await asyncio.sleep(0)
        reply = await post(out, f"http://fast.example:{fast.port}/")
        await cancelled(stuck)
        answer.set()
        resolver.close()

    assert reply.kind is ReplyKind.OK
    assert lookups.count("stuck.example") == 1


async def test_a_zone_that_does_not_answer_delays_no_other_however_many_names_it_has() -> None:
    answer = threading.Event()
    lookups: list[str] = []

    def find(host: str) -> list[str]:
        lookups.append(host)
        if host.endswith("stuck.example"):
            answer.wait(60)
        return ["127.0.0.1"]

    resolver = SystemResolver(find)
    async with listening(answering(OK)) as fast, egress(resolver=resolver) as out:
        for turn in range(2):
            names = [f"{number}.of{turn}.stuck.example" for number in range(300)]
            stuck = [asyncio.create_task(post(out, f"http://{name}:{fast.port}/")) for name in names]
            await asyncio.sleep(0)
            reply = await post(out, f"http://fast.example:{fast.port}/")
            await cancelled(stuck)
            assert reply.kind is ReplyKind.OK
        left = len(resolver._lookups)
        answer.set()
        resolver.close()

    assert left == OF_ZONE
    assert len([name for name in lookups if name.endswith("stuck.example")]) == OF_ZONE


async def test_zones_that_do_not_answer_delay_no_other_sender_s_names_however_many_there_are() -> None:
    answer = threading.Event()
    lookups: list[str] = []

    def find(host: str) -> list[str]:
        lookups.append(host)
        if host.startswith("stuck"):
            answer.wait(60)
        return ["127.0.0.1"]

    resolver = SystemResolver(find)
    async with listening(answering(OK)) as fast, egress(resolver=resolver) as out:

        async def send(host: str, sender: str) -> Reply:
            url = f"http://{host}:{fast.port}/"
            return await out.post(url, b"{}", {}, sent_at=datetime.now(UTC), sender=sender)

        names = [f"stuck.of{number}.example" for number in range(2 * THREADS)]
        stuck = [asyncio.create_task(send(name, "prj_busy")) for name in (*names, "shared.example")]
        await asyncio.sleep(0)
        replies = [await send(host, "prj_calm") for host in ("fast.example", "shared.example")]
        await cancelled(stuck)
        answer.set()
        resolver.close()

    assert [reply.kind for reply in replies] == [ReplyKind.OK] * 2
    assert len([name for name in lookups if name.startswith("stuck")]) == OF_SENDER


async def test_a_name_that_nobody_waits_for_any_more_can_be_asked_for_again() -> None:
    answer = threading.Event()

    def find(host: str) -> list[str]:
        answer.wait(60)
        return [host]

    resolver = SystemResolver(find)
    names = [f"{number}.slow.example" for number in range(OF_ZONE + 1)]
    first = [asyncio.create_task(resolver(name)) for name in names]
    await asyncio.sleep(0)
    first[-1].cancel()
    await asyncio.wait(first[-1:])
    again = asyncio.create_task(resolver(names[-1]))
    await asyncio.sleep(0)
    answer.set()

    assert await again == [names[-1]]
    assert await asyncio.gather(*first[:-1]) == [[name] for name in names[:-1]]
    assert resolver._lookups == {}
    resolver.close()


@pytest.mark.parametrize(
    ("host", "owned"),
    [
        ("localhost", "localhost"),
        ("a.example.com", "example.com"),
        ("a.b.example.com", "example.com"),
        ("a.b.example.co.uk", "example.co.uk"),
        ("example.com.au", "example.com.au"),
        ("a.b.example.de", "example.de"),
        ("a.b.abc.io", "abc.io"),
    ],
)
async def test_names_of_one_owner_are_of_one_zone(host: str, owned: str) -> None:
    assert zone(host) == owned
