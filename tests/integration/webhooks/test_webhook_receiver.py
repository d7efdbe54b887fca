"""The local receiver: verifies like any receiver, shows what came, prints no payload."""

import base64
import hashlib
import io
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from pydantic import SecretStr

from tests.factories import NOW
from tests.integration.webhooks.listener import egress
from worker.database import Database
from worker.dev.receiver import Secrets, StoredSecrets, build_receiver
from worker.models import WebhookEndpoint
from worker.store import projects
from worker.vault import Vault
from worker.webhooks.reply import ReplyKind
from worker.webhooks.signing import new_secret, sign

pytestmark = pytest.mark.anyio

SECRET = new_secret()
KEY = SecretStr("sealed in the tests of the receiver")
BODY = b'{"type":"job.completed","data":{"id":"job_1","status":"completed","output_text":"# Report"}}'

Client = TestClient[web.Request, web.Application]


async def known() -> list[str]:
    return [SECRET]


def registered(project_id: str, name: str, secret: bytes, **values: Any) -> WebhookEndpoint:
    of: dict[str, Any] = {"project_id": project_id, "url": "", "host": "", "header_names": [], "created_at": NOW}
    return WebhookEndpoint(id=name, secret=secret, **(of | values))


@asynccontextmanager
async def receiving(secrets: Secrets, lines: list[str] | None = None) -> AsyncIterator[Client]:
    app = build_receiver(secrets, say=(lines if lines is not None else []).append)
    async with TestClient(TestServer(app)) as client:
        yield client


async def send(client: Client, body: bytes = BODY, *, secret: str = SECRET, age: timedelta = timedelta(0)) -> int:
    headers = sign([secret], event_id="evt_1", sent_at=datetime.now(UTC) - age, body=body)
    async with client.post("/hook", data=body, headers=headers) as answer:
        return answer.status


async def shown(client: Client, after: str = "0") -> list[dict[str, object]]:
    async with client.get("/events.json", params={"after": after}) as answer:
        events = json.loads(await answer.text())["events"]
        assert isinstance(events, list)
        return events


@pytest.mark.parametrize(
    ("host", "status"), [("localhost", 200), ("[::1]:80", 200), ("owls.example", 421), ("127.0.0.1.owls.example", 421)]
)
async def test_no_page_of_another_name_is_shown_what_came(host: str, status: int) -> None:
    async with receiving(known) as client, client.get("/events.json", headers={"Host": host}) as answer:
        assert answer.status == status


async def test_an_event_sent_by_the_egress_is_verified_and_shown() -> None:
    lines: list[str] = []
    async with receiving(known, lines) as client, egress() as out:
        sent_at = datetime.now(UTC)
        headers = sign([new_secret(), SECRET], event_id="evt_1", sent_at=sent_at, body=BODY)
        reply = await out.post(str(client.make_url("/hook")), BODY, headers, sent_at=sent_at)
        [event] = await shown(client)

    assert (reply.kind, reply.status) == (ReplyKind.OK, 204)
    assert lines == ["job.completed job_1 verified"]
    assert event["body"] == json.loads(BODY)
    assert {key: event[key] for key in ("event_id", "type", "job_id", "status", "verified")} == {
        "event_id": "evt_1",
        "type": "job.completed",
        "job_id": "job_1",
        "status": "completed",
        "verified": True,
    }


async def test_an_event_with_another_secret_or_an_old_time_is_shown_as_not_verified() -> None:
    async with receiving(known) as client:
        statuses = [await send(client, secret=new_secret()), await send(client, age=timedelta(minutes=6))]
        events = await shown(client)

    assert statuses == [401, 401]
    assert [event["verified"] for event in events] == [False, False]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"webhook-id": "evt_1", "webhook-timestamp": "soon", "webhook-signature": "v1,AAAA"},
        {"webhook-id": "evt_1", "webhook-timestamp": "1", "webhook-signature": "nonsense"},
        {"webhook-id": "evt_1", "webhook-timestamp": "now", "webhook-signature": "a,b,c"},
        {"webhook-id": "evt_1", "webhook-timestamp": "now", "webhook-signature": "v1,é"},
    ],
)
async def test_an_event_without_a_readable_signature_is_not_verified(headers: dict[str, str]) -> None:
    # Not the time when the tests were collected: it is stale by now.
    now = f"{datetime.now(UTC).timestamp():.0f}"
    given = {name: now if value == "now" else value for name, value in headers.items()}

    async with receiving(known) as client, client.post("/hook", data=BODY, headers=given) as answer:
        assert answer.status == 401


async def test_whatever_the_installation_signs_is_verified(database: Database) -> None:
    vault, theirs, own, gone = Vault(KEY), new_secret(), new_secret(), new_secret()
    with database.write() as session:
        project = projects.create_project(session, "tests", sealed_secret=vault.seal(theirs), now=NOW)
        session.add(registered(project.id, "whe_1", vault.seal(own)))
        session.add(registered(project.id, "whe_2", vault.seal(gone), deleted_at=NOW))
        session.add(registered(project.id, "whe_3", b"", deleted_at=NOW))

    async with receiving(StoredSecrets(database, vault)) as client:
        statuses = [await send(client, secret=secret) for secret in (theirs, own, gone)]

    assert statuses == [204, 204, 401]


async def test_a_rotated_secret_is_known_at_once(database: Database) -> None:
    vault, before, after = Vault(KEY), new_secret(), new_secret()
    with database.write() as session:
        project = projects.create_project(session, "tests", sealed_secret=vault.seal(before), now=NOW)
    async with receiving(StoredSecrets(database, vault)) as client:
        first = await send(client, secret=before)
        with database.write() as session:
            session.merge(project).webhook_secret = vault.seal(after)

        statuses = [await send(client, secret=secret) for secret in (before, after)]

    assert (first, statuses) == (204, [401, 204])


async def test_an_event_that_comes_while_there_are_no_secrets_is_asked_for_again(database: Database) -> None:
    async with receiving(StoredSecrets(database, Vault(KEY))) as client:
        status = await send(client)

    assert status == 503


async def test_the_last_hundred_are_kept_and_only_what_is_new_is_sent() -> None:
    async with receiving(known) as client:
        for _ in range(103):
            await send(client)
        everything, news = await shown(client), await shown(client, after="101")
        odd = [len(await shown(client, after=after)) for after in ("", "-1", "x", "9" * 5000, "\u0661")]

    assert [event["number"] for event in everything] == list(range(4, 104))
    assert [event["number"] for event in news] == [102, 103]
    assert odd == [100] * 5


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"not JSON", id="not JSON"),
        pytest.param(b"\xff\xfe\x00", id="not UTF-8"),
        pytest.param(b"[1]", id="a list"),
        pytest.param(b"null", id="null"),
        pytest.param(b'{"data":[]}', id="data of another type"),
        pytest.param(b'{"a":NaN}', id="not a number"),
        pytest.param(b'{"a":"\\ud800"}', id="half a character"),
        pytest.param(b"[" * 100_000, id="endlessly deep"),
        pytest.param(b"[" * 900 + b"]" * 900, id="very deep"),
    ],
)
async def test_a_body_of_any_kind_is_shown_without_breaking_the_list(body: bytes) -> None:
    async with receiving(known) as client:
        async with client.post("/hook", data=body) as answer:
            assert answer.status == 401
        async with client.get("/events.json") as answer:
            text = await answer.text()

    assert "NaN" not in re.sub(r'"(\\.|[^"\\])*"', "", text)


async def test_the_printed_line_holds_no_payload_and_no_control_characters() -> None:
    lines: list[str] = []
    body = b'{"type":"a\\u001b[2J\\n b","data":{"id":"' + b"j" * 500 + b'","output_text":"PRIVATE"}}'
    async with receiving(known, lines) as client:
        await send(client, body)

    [line] = lines
    assert line.isprintable()
    assert "PRIVATE" not in line
    assert len(line) < 200


async def test_the_page_allows_its_own_script_and_style_and_nothing_else() -> None:
    async with receiving(known) as client, client.get("/") as answer:
        page, policy = await answer.text(), answer.headers["Content-Security-Policy"]

    inline = re.findall(r"<(?:style|script)>(.*?)</(?:style|script)>", page, re.DOTALL)
    hashes = {base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in inline}
    assert set(re.findall(r"'sha256-([^']+)'", policy)) == hashes
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert not re.search(r"https?://", page)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", page)
    assert "prefers-color-scheme" in page


async def test_markup_in_an_event_stays_text() -> None:
    body = b'{"type":"<script>alert(1)</script>","data":{"id":"<b>"}}'
    async with receiving(known) as client:
        await send(client, body)
        async with client.get("/events.json") as answer:
            assert answer.content_type == "application/json"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
        async with client.get("/") as answer:
            assert "alert(1)" not in await answer.text()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_the_receiver_says_that_it_is_there(method: str) -> None:
    async with receiving(known) as client, client.request(method, "/healthz") as answer:
        assert answer.status == 200


async def test_a_body_over_the_limit_is_refused() -> None:
    async with receiving(known) as client:
        async with client.post("/hook", data=io.BytesIO(b"a" * 3 * 1024 * 1024)) as answer:
            assert answer.status == 413
        assert await shown(client) == []
