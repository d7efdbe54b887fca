"""A webhook receiver as a process: verifies every request, writes it down before it answers, and misbehaves by path.

Each way to misbehave has a loopback address of its own, for the service counts what is under way by host.
What comes for a registered endpoint is kept whole: only its operator knows with which secrets it should be signed.
"""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from time import time
from typing import Any, BinaryIO
from zlib import crc32

import orjson
from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

SECRETS = "CHAOS_WEBHOOK_SECRETS"
MARK = "x-endpoint"
"""The header field that every endpoint has for itself, with its name."""

WELL, FLAKY, SLOW = "well", "flaky", "slow"
FAILING, HANGING, MOVED, ENDLESS, RUDE = "failing", "hanging", "moved", "endless", "rude"
SHAKY, AILING, GONE = "shaky", "ailing", "gone"
HOSTS = {
    WELL: "127.0.0.1",
    FLAKY: "127.0.0.2",
    SLOW: "127.0.0.3",
    FAILING: "127.0.0.4",
    HANGING: "127.0.0.5",
    MOVED: "127.0.0.6",
    ENDLESS: "127.0.0.7",
    RUDE: "127.0.0.8",
    AILING: "127.0.0.9",
    GONE: "127.0.0.10",
    SHAKY: "127.0.0.11",
}
LIVE = frozenset({WELL, FLAKY, SLOW, ENDLESS, AILING, GONE, SHAKY})
"""Those that say 2xx in the end: every event must reach them."""

FOR_ENDPOINTS = frozenset({AILING, GONE, SHAKY})
"""Paths that fail for a while and are well from then on, or fail with some events at first: nobody else's URLs."""

TRAP = "trap"
"""Where `moved` points; nobody may ever come."""

FLAKY_TIMES = 2
SHAKY_ONE_IN = 4
SLOW_S = 1.0
AILING_S, GONE_S = 10.0, 5.0
CHUNK = b"x" * 65536


@dataclass(frozen=True, slots=True)
class Visit:
    """Whose visit this is, for how many times, and how long ago the first of anything came to that path."""

    name: str
    number: int
    since_s: float


Answer = Callable[[web.Request, Visit], Awaitable[web.StreamResponse]]


class Receiver:
    """The handler and its log; `secrets` sign what goes to jobs' own URLs, by the name of their project."""

    def __init__(self, secrets: Mapping[str, str], log: BinaryIO) -> None:
        self._verifiers = {name: Webhook(secret) for name, secret in secrets.items()}
        self._log = log
        self._seen: Counter[tuple[str, str]] = Counter()
        self._first: dict[str, float] = {}

    async def take(self, request: web.Request) -> web.StreamResponse:
        """Write one request down, then answer as its path wants it."""
        body = await request.read()
        path, name = request.path, request.headers.get("webhook-id", "")
        self._seen[path, name] += 1
        since_s = time() - self._first.setdefault(path, time())
        self._note(name, body, request)
        answer = ANSWERS.get(request.match_info["manner"])
        if answer is None:
            return web.Response(status=404)
        return await answer(request, Visit(name, self._seen[path, name], since_s))

    def _is_verified(self, body: bytes, request: web.Request) -> bool:
        try:
            self._verifiers[request.match_info["tenant"]].verify(body, dict(request.headers), json_parse=False)
        except (WebhookVerificationError, ValueError):
            return False
        return True

    def _note(self, name: str, body: bytes, request: web.Request) -> None:
        line = {
            "at": time(),
            "tenant": request.match_info["tenant"],
            "manner": request.match_info["manner"],
            "webhook_id": name,
            "digest": sha256(body).hexdigest(),
        }
        place = request.match_info.get("place")
        line |= _raw(place, body, request) if place else self._told(body, request)
        self._log.write(orjson.dumps(line) + b"\n")

    def _told(self, body: bytes, request: web.Request) -> dict[str, Any]:
        event = orjson.loads(body)
        return {
            "verified": self._is_verified(body, request),
            "type": event["type"],
            "sequence": event["sequence"],
            "job_id": event["data"]["id"],
            "status": event["data"]["status"],
            "output_text": event["data"].get("output_text"),
            "truncated": event["data"].get("truncated", False),
        }


def _raw(place: str, body: bytes, request: web.Request) -> dict[str, Any]:
    return {
        "place": place,
        "mark": request.headers.get(MARK),
        "timestamp": int(request.headers.get("webhook-timestamp", "0")),
        "signature": request.headers.get("webhook-signature", ""),
        "body": body.decode(),
    }


async def _well(_request: web.Request, _visit: Visit) -> web.StreamResponse:
    return web.Response(status=204)


async def _flaky(_request: web.Request, visit: Visit) -> web.StreamResponse:
    return web.Response(status=503 if visit.number <= FLAKY_TIMES else 204)


async def _slow(_request: web.Request, _visit: Visit) -> web.StreamResponse:
    await asyncio.sleep(SLOW_S)
    return web.Response(status=204)


async def _failing(_request: web.Request, _visit: Visit) -> web.StreamResponse:
    return web.Response(status=500)


async def _hanging(request: web.Request, _visit: Visit) -> web.StreamResponse:
    while request.transport is not None and not request.transport.is_closing():  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.1)
    return web.Response(status=500)


async def _moved(request: web.Request, _visit: Visit) -> web.StreamResponse:
    trap = f"http://{request.host}/{request.match_info['tenant']}/{TRAP}"
    return web.Response(status=307, headers={"Location": trap})


async def _endless(request: web.Request, _visit: Visit) -> web.StreamResponse:
    answer = web.StreamResponse(status=200)
    await answer.prepare(request)
    while request.transport is not None and not request.transport.is_closing():
        await answer.write(CHUNK)
        await asyncio.sleep(0.01)
    return answer


async def _rude(request: web.Request, _visit: Visit) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.close()
    return web.Response(status=500)


async def _ailing(_request: web.Request, visit: Visit) -> web.StreamResponse:
    return web.Response(status=500 if visit.since_s < AILING_S else 204)


async def _gone(_request: web.Request, visit: Visit) -> web.StreamResponse:
    return web.Response(status=410 if visit.since_s < GONE_S else 204)


async def _shaky(_request: web.Request, visit: Visit) -> web.StreamResponse:
    is_unlucky = crc32(visit.name.encode()) % SHAKY_ONE_IN == 0
    return web.Response(status=503 if visit.number == 1 and is_unlucky else 204)


ANSWERS: dict[str, Answer] = {
    WELL: _well,
    FLAKY: _flaky,
    SLOW: _slow,
    FAILING: _failing,
    HANGING: _hanging,
    MOVED: _moved,
    ENDLESS: _endless,
    RUDE: _rude,
    AILING: _ailing,
    GONE: _gone,
    SHAKY: _shaky,
}


async def serve(port: int, log: Path) -> None:
    """Serve on every host until the process ends."""
    with log.open("ab", buffering=0) as lines:
        app = web.Application(client_max_size=16 * 1024 * 1024)
        take = Receiver(orjson.loads(os.environ[SECRETS]), lines).take
        app.router.add_post("/{tenant}/{manner}", take)
        app.router.add_post("/{tenant}/{manner}/{place}", take)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        for host in HOSTS.values():
            await web.TCPSite(runner, host, port, reuse_address=True).start()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), Path(sys.argv[2])))
