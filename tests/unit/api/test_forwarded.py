"""Where a request comes from: the peer, and only a trusted proxy may say otherwise."""

import asyncio
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from api.__main__ import served
from worker.settings import Settings


async def seen_by(settings: Settings, peer: str, forwarded: str) -> str:
    """Whom the application takes for the client."""
    seen: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del receive, send
        seen.append(scope["client"][0])

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        raise AssertionError(message)

    config = served(app, settings, host="127.0.0.1", port=0)
    config.load()
    headers = [(b"x-forwarded-for", forwarded.encode())]
    scope: Scope = {"type": "http", "method": "GET", "path": "/", "headers": headers, "client": (peer, 1)}
    await config.loaded_app(scope, receive, send)
    return str(seen[0])


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded", "client"),
    [
        ("", "10.0.0.1", "203.0.113.7", "10.0.0.1"),
        ("", "127.0.0.1", "203.0.113.7", "127.0.0.1"),
        ("10.0.0.0/8", "10.0.0.1", "203.0.113.7", "203.0.113.7"),
        ("10.0.0.0/8", "192.0.2.1", "203.0.113.7", "192.0.2.1"),
        ("10.0.0.0/8,127.0.0.1", "127.0.0.1", "198.51.100.1, 203.0.113.7, 10.0.0.9", "203.0.113.7"),
    ],
)
def test_only_a_trusted_proxy_is_believed(trusted: str, peer: str, forwarded: str, client: str) -> None:
    settings = Settings(trusted_proxies=trusted, _env_file=None)

    assert asyncio.run(seen_by(settings, peer, forwarded)) == client
