"""Whatever a receiver does becomes a reply: its kind, in bounded time, with bounded memory."""

import asyncio
import gzip
import socket
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from tests.integration.webhooks.listener import (
    LATE_MS,
    OK,
    PATIENT,
    QUICK,
    Listener,
    Names,
    answering,
    egress,
    hanging,
    listening,
    post,
    read_request,
)
from worker.webhooks.egress import Egress
from worker.webhooks.reply import Reply, ReplyKind

pytestmark = pytest.mark.anyio


def full(status: str, body: bytes = b"", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.parametrize(
    ("answer", "kind", "status"),
    [
        (full("200 OK", b"thanks"), ReplyKind.OK, 200),
        (full("202 Accepted"), ReplyKind.OK, 202),
        (OK, ReplyKind.OK, 204),
        (full("304 Not Modified"), ReplyKind.HTTP, 304),
        (full("400 Bad Request"), ReplyKind.HTTP, 400),
        (full("410 Gone"), ReplyKind.HTTP, 410),
        (full("503 Service Unavailable"), ReplyKind.HTTP, 503),
    ],
)
async def test_the_status_decides_what_kind_of_reply_it_is(answer: bytes, kind: ReplyKind, status: int) -> None:
    async with listening(answering(answer)) as receiver, egress() as out:
        reply = await post(out, receiver.url)

    assert (reply.kind, reply.status) == (kind, status)
    assert 0 <= reply.latency_ms < LATE_MS


async def test_the_first_kibibyte_of_the_answer_is_kept() -> None:
    async with listening(answering(full("500 Oops", b"a" * 1000 + b"\x00\xff" * 5000))) as receiver, egress() as out:
        reply = await post(out, receiver.url)

    assert reply.snippet == "a" * 1000 + "\ufffd" * 24


async def _endless(listener: Listener, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await listener.take(reader)
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b"a" * 4096)
        await writer.drain()


async def test_an_endless_body_is_cut_in_time_and_the_connection_closed() -> None:
    async with listening(_endless) as receiver, egress() as out:
        reply = await post(out, receiver.url)
        await receiver.until(lambda: receiver.ended == 1)

    assert (reply.kind, len(reply.snippet)) == (ReplyKind.OK, 1024)
    assert reply.latency_ms < LATE_MS


async def _dripping(listener: Listener, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await listener.take(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nthanks")
    await asyncio.Event().wait()


async def test_a_body_that_never_ends_does_not_undo_the_status() -> None:
    # Long enough for the status to come on a busy machine.
    async with listening(_dripping) as receiver, egress(limits=replace(PATIENT, total_s=2)) as out:
        reply = await post(out, receiver.url)

    assert (reply.kind, reply.status, reply.snippet) == (ReplyKind.OK, 200, "thanks")
    assert reply.latency_ms < LATE_MS


async def test_a_body_that_breaks_off_does_not_undo_the_status() -> None:
    async def breaking(_: Listener, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\nthanks")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with listening(breaking) as receiver, egress() as out:
        reply = await post(out, receiver.url)

    assert (reply.kind, reply.status) == (ReplyKind.OK, 201)


async def test_a_compressed_body_is_not_unpacked() -> None:
    bomb = gzip.compress(b"a" * 1_000_000)
    async with listening(answering(full("200 OK", bomb, "Content-Encoding: gzip\r\n"))) as receiver, egress() as out:
        reply = await post(out, receiver.url)

    assert reply.kind is ReplyKind.OK
    assert "aaaa" not in reply.snippet


async def test_a_receiver_that_never_answers_is_a_timeout() -> None:
    async with listening(hanging) as receiver, egress(limits=QUICK) as out:
        reply = await post(out, receiver.url)

    assert (reply.kind, reply.status) == (ReplyKind.TIMEOUT, None)
    assert 400 < reply.latency_ms < LATE_MS


async def test_a_closed_port_is_a_connect_failure() -> None:
    async with listening(answering(OK)) as receiver:
        url = receiver.url
    async with egress() as out:
        reply = await post(out, url)

    assert (reply.kind, reply.detail) == (ReplyKind.CONNECT, "connection refused")


async def test_hanging_up_without_an_answer_is_a_connect_failure() -> None:
    async def leaving(_: Listener, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await read_request(reader)

    async with listening(leaving) as receiver, egress() as out:
        reply = await post(out, receiver.url)

    assert (reply.kind, reply.status) == (ReplyKind.CONNECT, None)


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/1.1 2\xb200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nBroken header\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        pytest.param(b"HTTP/1.1 200 OK\r\nX-Long: " + b"a" * 100_000 + b"\r\n\r\n", id="long header"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"X-Many: a\r\n" * 10_000 + b"\r\n", id="many headers"),
    ],
)
async def test_an_answer_that_is_not_http_is_a_failure_without_a_status(answer: bytes) -> None:
    async with listening(answering(answer)) as receiver, egress() as out:
        reply = await post(out, receiver.url)

    assert (reply.kind, reply.status) == (ReplyKind.HTTP, None)


@pytest.mark.parametrize(
    "answer",
    [socket.gaierror(socket.EAI_NONAME, "unknown"), OSError("no resolver"), UnicodeError("label too long"), []],
)
async def test_a_name_that_does_not_resolve_is_a_dns_failure(answer: Exception | list[str]) -> None:
    async with egress(resolver=Names(answer)) as out:
        reply = await post(out, "http://nowhere.example/")

    assert (reply.kind, reply.status) == (ReplyKind.DNS, None)


async def test_a_lookup_that_hangs_is_a_dns_failure_within_the_connect_timeout() -> None:
    async def stuck(host: str) -> list[str]:  # noqa: ARG001
        await asyncio.Event().wait()
        return []

    async with egress(limits=QUICK, resolver=stuck) as out:
        reply = await post(out, "http://stuck.example/")

    assert reply.kind is ReplyKind.DNS
    assert 200 < reply.latency_ms < LATE_MS


@pytest.mark.parametrize("status", ["200 OK", "429 Too Many Requests", "503 Service Unavailable"])
async def test_the_wish_to_wait_is_read_in_seconds(status: str) -> None:
    async with listening(answering(full(status, b"", "Retry-After: 7\r\n"))) as receiver, egress() as out:
        reply = await post(out, receiver.url)

    assert reply.retry_after_s == 7


async def test_the_wish_to_wait_is_read_as_a_date() -> None:
    until = format_datetime(datetime.now(UTC) + timedelta(minutes=10), usegmt=True)
    async with listening(answering(full("503 Busy", b"", f"Retry-After: {until}\r\n"))) as receiver, egress() as out:
        reply = await post(out, receiver.url)

    assert reply.retry_after_s is not None
    assert 540 < reply.retry_after_s <= 600


async def test_a_kept_connection_serves_the_next_post() -> None:
    async with listening(answering(full("200 OK", b"thanks"))) as receiver, egress() as out:
        for _ in range(3):
            await post(out, receiver.url)

    assert (receiver.connections, len(receiver.requests)) == (1, 3)


async def test_a_kept_connection_that_died_is_no_failure_of_the_receiver() -> None:
    async def once(listener: Listener, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await listener.take(reader)
        writer.write(OK)
        await read_request(reader)

    async with listening(once) as receiver, egress() as out:
        replies = [await post(out, receiver.url) for _ in range(3)]

    assert [reply.kind for reply in replies] == [ReplyKind.OK] * 3
    assert receiver.connections == 3


async def _failures(out: Egress, closed: str, receiver: Listener) -> list[Reply]:
    secret = "user/PRIVATE?token=PRIVATE"
    urls = [
        f"{closed}/{secret}",
        f"{receiver.url}/{secret}",
        f"http://nowhere.example/{secret}",
        f"http://10.0.0.1/{secret}",
    ]
    return [await post(out, url) for url in urls]


@pytest.mark.parametrize("answer", [full("404 Not Found"), b"nonsense\r\n\r\n", b""])
async def test_no_detail_holds_the_url(answer: bytes) -> None:
    async with listening(answering(OK)) as closing:
        closed = closing.url
    async with (
        listening(answering(answer)) as receiver,
        egress(limits=QUICK, resolver=Names(OSError("PRIVATE"))) as out,
    ):
        replies = await _failures(out, closed, receiver)

    assert all(reply.detail for reply in replies)
    assert not any("PRIVATE" in reply.detail or "/hook" in reply.detail for reply in replies)
