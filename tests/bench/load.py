"""A load client that costs next to nothing: bytes made beforehand over kept connections, for it shares the cores."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from time import perf_counter
from urllib.parse import urlsplit

import orjson

CLIENTS = 32


@dataclass
class Load:
    """What the clients saw: how long each answer took, and how long it all took."""

    latencies_s: list[float] = field(default_factory=list)
    took_s: float = 0.0

    @property
    def rate(self) -> float:
        """Answers in a second."""
        return len(self.latencies_s) / self.took_s


def request(url: str, headers: Mapping[str, str], content: object) -> bytes:
    """The bytes of a POST of JSON."""
    parts, body = urlsplit(url), orjson.dumps(content)
    told = {"Host": parts.netloc, "Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
    lines = [f"POST {parts.path} HTTP/1.1", *(f"{name}: {value}" for name, value in told.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def post(url: str, requests: Iterable[bytes], *, clients: int = CLIENTS, expected: int = 202) -> Load:
    """Send every request once, `clients` at a time."""
    load, began = Load(), perf_counter()
    queue = iter(requests)
    await asyncio.gather(*(_client(url, queue, load, expected) for _ in range(clients)))
    load.took_s = perf_counter() - began
    return load


async def post_for(url: str, one: bytes, seconds: float, *, clients: int = CLIENTS) -> Load:
    """Send the same request again and again for some seconds."""
    return await post(url, _until(one, perf_counter() + seconds), clients=clients)


def _until(one: bytes, moment: float) -> Iterator[bytes]:
    while perf_counter() < moment:
        yield one


async def _client(url: str, requests: Iterator[bytes], load: Load, expected: int) -> None:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        for one in requests:
            sent = perf_counter()
            writer.write(one)
            status, body = await _answer(reader)
            assert status == expected, f"{status}: {body[:500]!r}"
            load.latencies_s.append(perf_counter() - sent)
    finally:
        writer.close()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    body = await reader.readexactly(length_of(head))
    return int(head[9:12]), body


def length_of(head: bytes) -> int:
    """The Content-Length of a message's head."""
    return int(value_of(head, b"content-length") or 0)


def value_of(head: bytes, name: bytes) -> bytes:
    """The value of one header; empty where it is missing."""
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.lower() == name:
            return value.strip()
    return b""
