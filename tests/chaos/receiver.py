"""A webhook receiver as a process: verifies every request, writes it down before it answers, and misbehaves by path.

Each way to misbehave has a loopback address of its own, for the service counts what is under way by host.
"""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import time
from typing import BinaryIO

import orjson
from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

SECRET = "CHAOS_WEBHOOK_SECRET"
WELL, FLAKY, SLOW = "well", "flaky", "slow"
FAILING, HANGING, MOVED, ENDLESS, RUDE = "failing", "hanging", "moved", "endless", "rude"
HOSTS = {
    WELL: "127.0.0.1",
    FLAKY: "127.0.0.2",
    SLOW: "127.0.0.3",
    FAILING: "127.0.0.4",
    HANGING: "127.0.0.5",
    MOVED: "127.0.0.6",
    ENDLESS: "127.0.0.7",
    RUDE: "127.0.0.8",
}
LIVE = frozenset({WELL, FLAKY, SLOW, ENDLESS})
"""Those that say 2xx in the end: every event must reach them."""

TRAP = "trap"
"""Where `moved` points; nobody may ever come."""

FLAKY_TIMES = 2
SLOW_S = 1.0
CHUNK = b"x" * 65536

Answer = Callable[[web.Request, int], Awaitable[web.StreamResponse]]


class Receiver:
    """The handler and its log."""

    def __init__(self, secret: str, log: BinaryIO) -> None:
        self._verifier = Webhook(secret)
        self._log = log
        self._seen: Counter[str] = Counter()

    async def take(self, request: web.Request) -> web.StreamResponse:
        """Write one request down, then answer as its path wants it."""
        body = await request.read()
        manner = request.match_info["manner"]
        name = request.headers.get("webhook-id", "")
        self._seen[name] += 1
        self._note(manner, name, body, is_verified=self._is_verified(body, request))
        answer = ANSWERS.get(manner)
        return web.Response(status=404) if answer is None else await answer(request, self._seen[name])

    def _is_verified(self, body: bytes, request: web.Request) -> bool:
        try:
            self._verifier.verify(body, dict(request.headers), json_parse=False)
        except (WebhookVerificationError, ValueError):
            return False
        return True

    def _note(self, manner: str, name: str, body: bytes, *, is_verified: bool) -> None:
        event = orjson.loads(body)
        line = {
            "at": time(),
            "manner": manner,
            "webhook_id": name,
            "verified": is_verified,
            "type": event["type"],
            "sequence": event["sequence"],
            "job_id": event["data"]["id"],
            "status": event["data"]["status"],
            "output_text": event["data"].get("output_text"),
            "truncated": event["data"].get("truncated", False),
        }
        self._log.write(orjson.dumps(line) + b"\n")


async def _well(_request: web.Request, _number: int) -> web.StreamResponse:
    return web.Response(status=204)


async def _flaky(_request: web.Request, number: int) -> web.StreamResponse:
    return web.Response(status=503 if number <= FLAKY_TIMES else 204)


async def _slow(_request: web.Request, _number: int) -> web.StreamResponse:
    await asyncio.sleep(SLOW_S)
    return web.Response(status=204)


async def _failing(_request: web.Request, _number: int) -> web.StreamResponse:
    return web.Response(status=500)


async def _hanging(request: web.Request, _number: int) -> web.StreamResponse:
    while request.transport is not None and not request.transport.is_closing():  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.1)
    return web.Response(status=500)


async def _moved(request: web.Request, _number: int) -> web.StreamResponse:
    return web.Response(status=307, headers={"Location": f"http://{request.host}/{TRAP}"})


async def _endless(request: web.Request, _number: int) -> web.StreamResponse:
    answer = web.StreamResponse(status=200)
    await answer.prepare(request)
    while request.transport is not None and not request.transport.is_closing():
        await answer.write(CHUNK)
        await asyncio.sleep(0.01)
    return answer


async def _rude(request: web.Request, _number: int) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.close()
    return web.Response(status=500)


ANSWERS: dict[str, Answer] = {
    WELL: _well,
    FLAKY: _flaky,
    SLOW: _slow,
    FAILING: _failing,
    HANGING: _hanging,
    MOVED: _moved,
    ENDLESS: _endless,
    RUDE: _rude,
}


async def serve(port: int, log: Path) -> None:
    """Serve on every host until the process ends."""
    with log.open("ab", buffering=0) as lines:
        app = web.Application(client_max_size=16 * 1024 * 1024)
        app.router.add_post("/{manner}", Receiver(os.environ[SECRET], lines).take)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        for host in HOSTS.values():
            await web.TCPSite(runner, host, port, reuse_address=True).start()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), Path(sys.argv[2])))
