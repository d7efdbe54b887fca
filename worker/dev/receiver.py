"""A small local receiver, for newcomers and demonstrations: verifies webhooks and shows the last hundred on a page.

Keeps everything in memory and prints one line for each event, never its payload. Not for production.
"""

import argparse
import asyncio
import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from ipaddress import ip_address
from typing import Any, Protocol

from aiohttp import web
from aiohttp.typedefs import Handler
from standardwebhooks import Webhook, WebhookVerificationError

from worker.database import Database
from worker.dev.receiver_page import PAGE, content_security_policy
from worker.errors import Unavailable
from worker.settings import load
from worker.store import sealings
from worker.vault import Vault

KEPT = 100
SECRETS = 1_000
"""So many of the newest endpoints are tried, and then as many of the projects."""

MAX_BODY = 2 * 1024 * 1024
_HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}


class Secrets(Protocol):
    """Gives the live signing secrets; none while they cannot be had."""

    async def __call__(self) -> Sequence[str]:
        """Return the secrets."""
        ...


class StoredSecrets:
    """The secrets of all projects and endpoints, from the database of the same machine: the API shows some but once."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    async def __call__(self) -> Sequence[str]:
        """Return those that sign now."""
        return await asyncio.to_thread(self._read)

    def _read(self) -> list[str]:
        try:
            with self._database.read() as session:
                return [self._vault.open(sealed) for sealed in sealings.signing(session, SECRETS)]
        except Unavailable:
            return []


class Verdict(StrEnum):
    """What verification said; the text is shown."""

    VERIFIED = "verified"
    MISMATCH = "signature does not match"
    UNKNOWN = "signing secrets not available yet"


_ANSWERS = {Verdict.VERIFIED: 204, Verdict.MISMATCH: 401, Verdict.UNKNOWN: 503}


@dataclass(frozen=True, slots=True)
class Received:
    """One request to `/hook`; `shown` is its JSON for the page, made once."""

    number: int
    type: str
    job_id: str
    verdict: Verdict
    shown: str


class Receiver:
    """The handlers and what they remember."""

    def __init__(self, secrets: Secrets, say: Callable[[str], None]) -> None:
        self._secrets = secrets
        self._say = say
        self._last = 0
        self._kept: deque[Received] = deque(maxlen=KEPT)

    async def hook(self, request: web.Request) -> web.Response:
        """Take one event: 204 if it is verified, 401 if not, 503 while there is no secret to verify with."""
        body = await request.read()
        verdict = await self._verify(body, request.headers)
        self._last += 1
        received = _received(self._last, body, request.headers.get("webhook-id"), verdict)
        self._kept.append(received)
        self._say(f"{received.type} {received.job_id} {received.verdict}")
        return web.Response(status=_ANSWERS[verdict])

    async def events(self, request: web.Request) -> web.Response:
        """List what is kept, oldest first; `?after=N` leaves out what the page has already."""
        text = request.query.get("after", "")
        after = int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0
        events = ",".join(received.shown for received in self._kept if received.number > after)
        answer = f'{{"last":{self._last},"keeps":{KEPT},"events":[{events}]}}'
        return web.json_response(text=answer, headers=_HEADERS)

    async def page(self, _request: web.Request) -> web.Response:
        """Serve the page."""
        headers = {**_HEADERS, "Content-Security-Policy": content_security_policy()}
        return web.Response(text=PAGE, content_type="text/html", charset="utf-8", headers=headers)

    async def healthz(self, _request: web.Request) -> web.Response:
        """Say that we are here."""
        return web.json_response({"status": "ok"}, headers=_HEADERS)

    async def _verify(self, body: bytes, headers: Mapping[str, str]) -> Verdict:
        known = await self._secrets()
        if not known:
            return Verdict.UNKNOWN
        return Verdict.VERIFIED if _matches(body, headers, known) else Verdict.MISMATCH


def build_receiver(secrets: Secrets, *, say: Callable[[str], None] = print) -> web.Application:
    """Build the receiver; `say` takes one line for each event."""
    receiver = Receiver(secrets, say)
    app = web.Application(client_max_size=MAX_BODY, middlewares=[_at_home])
    app.add_routes(
        [
            web.post("/hook", receiver.hook),
            web.get("/", receiver.page),
            web.get("/events.json", receiver.events),
            web.get("/healthz", receiver.healthz),
        ]
    )
    return app


@web.middleware
async def _at_home(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A browser that a foreign name has led here would show that name's pages what came."""
    if not _is_local(request.url.host or ""):
        raise web.HTTPMisdirectedRequest(text="ask for localhost, or by the address\n", headers=_HEADERS)
    return await handler(request)


def _is_local(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return host == "localhost"
    return True


def run(host: str, port: int, *, secrets: Secrets) -> None:
    """Serve until SIGINT or SIGTERM."""
    print(f"receiver: http://{host}:{port}/", flush=True)
    app = build_receiver(secrets, say=lambda line: print(line, flush=True))
    web.run_app(app, host=host, port=port, print=None, access_log=None)


def _matches(body: bytes, headers: Mapping[str, str], secrets: Sequence[str]) -> bool:
    for secret in secrets:
        try:
            Webhook(secret).verify(body, dict(headers), json_parse=False)
        except (WebhookVerificationError, ValueError):
            continue
        return True
    return False


def _received(number: int, body: bytes, event_id: str | None, verdict: Verdict) -> Received:
    event = _parsed(body)
    fields = event if isinstance(event, dict) else {}
    data = fields.get("data")
    job = data if isinstance(data, dict) else {}
    shown = {
        "number": number,
        "received_at": datetime.now(UTC).isoformat(),
        "event_id": _word(event_id),
        "type": _word(fields.get("type")),
        "job_id": _word(job.get("id")),
        "status": _word(job.get("status", "")),
        "verified": verdict is Verdict.VERIFIED,
        "note": verdict.value,
    }
    try:
        text = json.dumps({**shown, "body": event}, allow_nan=False)
    except (ValueError, RecursionError):
        text = json.dumps({**shown, "body": _text(body)})
    return Received(number, str(shown["type"]), str(shown["job_id"]), verdict, text)


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return _text(body)


def _text(body: bytes) -> str:
    return body.decode("utf-8", errors="replace")


def _word(value: object) -> str:
    """Make one printable word of what came from outside: a terminal obeys control characters."""
    text = value if isinstance(value, str) else "-"
    return "".join(letter if letter.isprintable() and letter != " " else "?" for letter in text[:80])


def main() -> None:
    """Serve with the secrets of the installation whose settings are in the environment."""
    options = argparse.ArgumentParser(prog="receiver", description="Shows and verifies webhooks.")
    options.add_argument("--host", default="127.0.0.1")
    options.add_argument("--port", type=int, default=8090)
    chosen = options.parse_args()
    settings = load()
    secrets = StoredSecrets(Database(settings.database), Vault(settings.encryption_key))
    run(chosen.host, chosen.port, secrets=secrets)


if __name__ == "__main__":
    main()
