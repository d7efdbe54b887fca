"""Every failure is a problem with its fixed status and code, and tells no more than it should."""

import logging
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from tests.conftest import MakeSettings
from tests.integration.api.serving import Server, Tenant, prepared, serving
from tests.postgres import Postgres
from tests.waiting import eventually
from worker import context as contexts
from worker.database import Database, upgrade
from worker.models import ApiKey
from worker.store import projects

UNKNOWN = "job_01kqzv7m3e8f4x2c9t5b6n0hyd"
HELLO = {"model": "gemini-3.8-flash", "input": "Say hello."}
PUBLIC = {"/healthz", "/readyz", "/v1/upstream/gemini"}
SCOPES = {
    ("get", "/metrics"): "admin",
    ("get", "/v1/audit"): "admin",
    ("get", "/v1/webhook-secret"): "webhooks:write",
    ("post", "/v1/webhook-secret/rotate"): "webhooks:write",
    ("post", "/v1/deliveries/{delivery_id}/redeliver"): "webhooks:write",
    ("post", "/v1/webhooks"): "webhooks:write",
    ("patch", "/v1/webhooks/{endpoint_id}"): "webhooks:write",
    ("delete", "/v1/webhooks/{endpoint_id}"): "webhooks:write",
    ("post", "/v1/webhooks/{endpoint_id}/rotate-secret"): "webhooks:write",
    ("post", "/v1/webhooks/{endpoint_id}/ping"): "webhooks:write",
    ("post", "/v1/webhooks/{endpoint_id}/replay"): "webhooks:write",
}
ANY_KEY = {("get", "/v1/catalog")}


def told(answer: httpx2.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == answer.status_code
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert problem["type"].endswith(problem["code"])
    return answer.status_code, problem["code"]


def calls(server: Server) -> Iterator[tuple[str, str]]:
    """Every call but those of the door, which fails in another API's manners."""
    for path, operations in server.contract.document["paths"].items():
        if not path.startswith("/gemini/"):
            yield from ((method, path) for method in operations)


def concrete(path: str) -> str:
    names = {"job_id": UNKNOWN, "conversation_id": UNKNOWN, "delivery_id": "dlv_01kqzvb2q7r1s4w8y3d6g9k0ma"}
    names["endpoint_id"] = "whe_01kqzv8d2f5h7k9m1p3r6t8v0x"
    return path.format(**names, number="0")


def test_every_call_but_the_public_ones_needs_a_key(sqlite_server: Server) -> None:
    nobody = sqlite_server.client()

    for method, path in calls(sqlite_server):
        answer = nobody.request(method, concrete(path))
        if path in PUBLIC:
            # Upstream events, which prove themselves by their signature, are off here.
            assert answer.status_code == (404 if "upstream" in path else 200)
        else:
            assert told(answer) == (401, "unauthenticated"), path
            assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "header", ["Bearer", "Bearer nd_wrong_but_long_enough", "Basic bmQ6eA==", "nd_x", "Bearer \u00e9"]
)
def test_a_bad_key_is_refused(sqlite_server: Server, header: str) -> None:
    answer = sqlite_server.client().get("/v1/jobs", headers=[(b"Authorization", header.encode("latin-1"))])

    assert told(answer) == (401, "unauthenticated")


def test_a_revoked_key_is_refused_at_once(server: Server, tenant: Tenant) -> None:
    assert tenant.get("/v1/jobs").status_code == 200
    with server.context.database.write() as session:
        projects.revoke(session, tenant.key_id, datetime.now(UTC))

    answer = tenant.get("/v1/jobs")

    assert told(answer) == (401, "unauthenticated")


def test_an_expired_key_is_refused(server: Server, tenant: Tenant) -> None:
    with server.context.database.write() as session:
        key = session.get_one(ApiKey, tenant.key_id)
        key.expires_at = datetime.now(UTC)

    assert told(tenant.get("/v1/jobs")) == (401, "unauthenticated")


def test_the_last_use_of_a_key_is_remembered(server: Server, tenant: Tenant) -> None:
    tenant.get("/v1/jobs")

    def last_used_at() -> datetime | None:
        with server.context.database.read() as session:
            return session.get_one(ApiKey, tenant.key_id).last_used_at

    assert eventually(last_used_at)


def test_each_call_needs_its_scope(sqlite_server: Server) -> None:
    project = sqlite_server.operator().project_id
    scopes = ("jobs:read", "jobs:write", "webhooks:write", "admin")
    without = {scope: sqlite_server.key(project, *(other for other in scopes if other != scope)) for scope in scopes}

    for method, path in calls(sqlite_server):
        if path in PUBLIC or (method, path) in ANY_KEY:
            continue
        scope = SCOPES.get((method, path), "jobs:read" if method == "get" else "jobs:write")
        assert told(without[scope].http.request(method, concrete(path))) == (403, "forbidden"), (method, path)
        others = [key for name, key in without.items() if name != scope]
        assert all(key.http.request(method, concrete(path)).status_code != 403 for key in others), (method, path)


@pytest.mark.parametrize("path", ["/nope", "/v1", "/v1/jobs/", "/v1/webhooks/"])
def test_an_unknown_path_is_not_found(sqlite_server: Server, path: str) -> None:
    assert told(sqlite_server.client().get(path)) == (404, "not_found")


@pytest.mark.parametrize(
    "job_id", [UNKNOWN, "job_", "job_A", "x", "job_%00", "dlv_01kqzvb2q7r1s4w8y3d6g9k0ma", "job_" + "0" * 500, "%F0%9F"]
)
def test_an_unknown_job_is_not_found(tenant: Tenant, job_id: str) -> None:
    assert told(tenant.get(f"/v1/jobs/{job_id}")) == (404, "not_found")


SOUND: dict[str, Any] = {
    "plan": {"action": "approve"},
    "respond": {"input": [{"type": "function_result", "call_id": "call_1", "result": "sunny"}]},
}
"""Bodies that are right, for calls that look at them before they look for the job."""


def test_another_projects_job_is_not_found_on_any_call(server: Server, tenant: Tenant) -> None:
    job_id = server.tenant().submit()["id"]
    paths = [(method, path) for method, path in calls(server) if "{job_id}" in path]

    answers = {
        (method, path): tenant.http.request(
            method, path.format(job_id=job_id, number="0"), json=SOUND.get(path.rpartition("/")[2])
        )
        for method, path in paths
    }

    assert len(paths) >= 8
    assert {call: told(answer) for call, answer in answers.items()} == dict.fromkeys(paths, (404, "not_found"))


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/jobs", "GET, HEAD, POST"),
        ("PATCH", f"/v1/jobs/{UNKNOWN}", "DELETE, GET, HEAD"),
        ("GET", f"/v1/jobs/{UNKNOWN}/cancel", "POST"),
        ("DELETE", "/healthz", "GET, HEAD"),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(sqlite_server: Server, method: str, path: str, allowed: str) -> None:
    answer = sqlite_server.client().request(method, path)

    assert told(answer) == (405, "method_not_allowed")
    assert answer.headers["allow"] == allowed


@pytest.mark.parametrize(
    ("path", "pointer"),
    [
        ("/v1/jobs?limit=0", "/limit"),
        ("/v1/jobs?limit=101", "/limit"),
        ("/v1/jobs?status=nope", "/status/0"),
        ("/v1/jobs?priority=urgent", "/priority"),
        ("/v1/jobs?created_after=yesterday", "/created_after"),
        ("/v1/jobs?created_after=2026-01-01T00:00:00", "/created_after"),
        ("/v1/jobs?agent=a&model=b", "/agent"),
        ("/v1/jobs?model=a%00", "/model"),
        ("/v1/jobs?metadata[a]=%00", "/metadata"),
        ("/v1/jobs?metadata[%22]=a", "/metadata"),
        (f"/v1/jobs/{UNKNOWN}?wait=61", "/wait"),
        (f"/v1/jobs/{UNKNOWN}?include=everything", "/include"),
    ],
)
def test_a_bad_parameter_is_invalid(guest: Tenant, path: str, pointer: str) -> None:
    answer = guest.get(path)

    assert told(answer) == (422, "invalid_request")
    assert [fault["pointer"] for fault in answer.json()["errors"]] == [pointer]


@pytest.mark.parametrize("cursor", ["x", "", "am9iOg", "ZXZlbnQ6MQ", "\u00e9", "am9iOmFcMDA"])
def test_a_bad_cursor_is_a_bad_request(guest: Tenant, cursor: str) -> None:
    assert told(guest.get("/v1/jobs", params={"cursor": cursor})) == (400, "bad_request")


@pytest.mark.parametrize("value", ["wait=x", "wait=61", "wait=-1", "wait=", "respond-async, wait=1.5"])
def test_a_bad_preference_is_a_bad_request(guest: Tenant, value: str) -> None:
    assert told(guest.post("/v1/jobs", HELLO, headers={"Prefer": value})) == (400, "bad_request")


@pytest.fixture(scope="module")
def small(sqlite_template: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An application that takes 1 KiB, and whose clock can break."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "nightdesk.db").write_bytes(sqlite_template.read_bytes())
    settings = prepared(data_dir=folder, max_body_bytes=1024)
    with serving(settings, context=contexts.build(settings, Clock())) as server:
        yield server


class Clock:
    """Tells the time, or breaks."""

    is_broken = False

    def __call__(self) -> datetime:
        if self.is_broken:
            raise RuntimeError("secret detail")
        return datetime.now(UTC)


def test_a_body_over_the_limit_is_too_large(small: Server) -> None:
    answer = small.tenant().post("/v1/jobs", HELLO | {"input": "x" * 2000})

    assert told(answer) == (413, "payload_too_large")


def test_a_body_without_a_length_is_counted_as_it_comes(small: Server) -> None:
    chunks = (b"x" * 100 for _ in range(1000))

    answer = small.tenant().post("/v1/jobs", content=chunks)

    assert told(answer) == (413, "payload_too_large")


def test_a_body_at_the_limit_is_taken(small: Server) -> None:
    frame = b'{"model": "gemini-3.8-flash", "input": ""}'
    body = frame.replace(b'""', b'"' + b"x" * (1024 - len(frame)) + b'"')

    answer = small.tenant().post("/v1/jobs", content=body)

    assert len(body) == 1024
    assert answer.status_code == 202


@pytest.mark.parametrize("length", [b"99999999999999999999999", b"5000"])
def test_a_lying_length_is_refused_before_the_body_comes(small: Server, length: bytes) -> None:
    token = small.tenant().token.encode()
    with socket.create_connection(("127.0.0.1", int(small.url.rpartition(":")[2])), timeout=30) as connection:
        connection.sendall(
            b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %s\r\n\r\n{"
            % (token, length)
        )

        head = connection.recv(65536)

    assert head.startswith((b"HTTP/1.1 413", b"HTTP/1.1 400"))


@contextmanager
def heard() -> Iterator[list[Any]]:
    """The lines that are logged, one for each request among them."""
    lines: list[Any] = []
    logger, handler = logging.getLogger("nightdesk"), logging.Handler()
    handler.emit = lambda record: lines.append(record.msg)  # type: ignore[method-assign]
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    yield lines
    logger.removeHandler(handler)
    logger.setLevel(level)


def lines_of(lines: list[Any], event: str, request_id: str) -> list[dict[str, Any]]:
    found = [line for line in lines if isinstance(line, dict) and line["event"] == event]
    return [line for line in found if line["request_id"] == request_id]


@pytest.mark.parametrize("begun", [b"{", b"{" + b" " * 20_000])
def test_a_client_that_goes_away_in_mid_body_leaves_no_trace_of_a_fault(sqlite_server: Server, begun: bytes) -> None:
    token, port = sqlite_server.tenant().token.encode(), int(sqlite_server.url.rpartition(":")[2])
    head = b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nX-Request-Id: gone\r\nAuthorization: Bearer %s\r\n" % token
    with heard() as lines:
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(head + b"Content-Length: 90000\r\n\r\n" + begun)

        (line,) = eventually(lambda: lines_of(lines, "request", "gone"))

    assert (line["status"], line["outcome"]) == (400, "ok")
    assert not lines_of(lines, "request_failed", "gone")


def test_an_unknown_error_is_opaque_outside_and_named_in_the_log(small: Server) -> None:
    tenant, clock = small.tenant(), small.context.clock
    assert isinstance(clock, Clock)
    with heard() as lines:
        clock.is_broken = True
        answer = tenant.get("/v1/jobs", headers={"X-Request-Id": "find-me"})
        clock.is_broken = False

    assert told(answer) == (500, "internal_error")
    assert "secret detail" not in answer.text
    assert [
        (line["request_id"], line["error"], line["route"]) for line in lines_of(lines, "request_failed", "find-me")
    ] == [("find-me", "RuntimeError", "/v1/jobs")]


@pytest.mark.parametrize("given", ["abc", "a b~!", "x" * 128])
def test_a_request_id_is_echoed(sqlite_server: Server, given: str) -> None:
    answer = sqlite_server.client().get("/nope", headers={"X-Request-Id": given})

    assert answer.headers["x-request-id"] == answer.json()["request_id"] == given


@pytest.mark.parametrize("given", [b"", b"x" * 129, b"caf\xe9", b"a\tb"])
def test_a_bad_request_id_is_replaced(sqlite_server: Server, given: bytes) -> None:
    answer = sqlite_server.client().get("/nope", headers=[(b"X-Request-Id", given)])

    assert answer.headers["x-request-id"].startswith("req_")


def test_without_its_database_every_call_is_unavailable_until_it_is_back(make_settings: MakeSettings) -> None:
    with Postgres() as postgres:
        url = postgres.empty()
        database = Database(make_settings(database_url=url).database)
        upgrade(database)
        database.close()
        settings = make_settings(database_url=url, gemini_api_key="none", redis_url="redis://127.0.0.1:1/0")
        with serving(settings) as server:
            tenant = server.tenant()
            postgres.stop(signal.SIGINT)

            answers = [tenant.get("/v1/jobs"), tenant.post("/v1/jobs", HELLO), tenant.get("/readyz")]

            postgres.start()
            assert [told(answer) for answer in answers] == [(503, "unavailable")] * 3
            assert all(int(answer.headers["retry-after"]) > 0 for answer in answers)
            assert answers[2].json()["checks"]["database"]["status"] == "failed"
            assert tenant.get("/healthz").status_code == 200
            eventually(lambda: tenant.get("/readyz").status_code == 200)
            assert tenant.post("/v1/jobs", HELLO).status_code == 202
