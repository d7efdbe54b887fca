"""Odd headers, ids, cursors, uploads and upstream events, byte by byte: answered as documented, and quoted nowhere.

Sent over bare sockets: no client library would send most of it.
"""

import re
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from time import time

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from api import examples
from tests import anything
from tests.integration.api.serving import Server, Tenant, prepared, serving
from worker.dev.simulator import Options, SimulatorServer
from worker.dev.simulator.signer import Signer, signature
from worker.settings import UPSTREAM_PATH

MARK = b"X-Injected: yes"
BYTES = st.binary(max_size=40) | st.sampled_from(
    [b"", b" ", b"\r\n" + MARK, b"\n" + MARK, b"a\r" + MARK, b"\0", b"\xff\xfe", b"\xc3\xa9", b"9" * 400, b"-1", b"%00"]
)
VALUES = BYTES | st.text(max_size=20).map(lambda text: text.encode("utf-8", "replace"))
HEADERS: dict[str, list[bytes]] = {
    "Authorization": [b"Bearer nd_x", b"Bearer", b"Basic YTpi", b"Bearer nd_" + b"x" * 3000],
    "X-Request-Id": [b"a", b"a" * 129, b"a b"],
    "Idempotency-Key": [b"monday", b"x" * 256],
    "Prefer": [b"wait=1", b"wait=-1", b'wait="0"', b"respond-async;wait=0"],
    "Accept": [b"text/html;q=nan", b"*/*;q=1e400", b"text/html;q=", b"application/json", b",;,"],
    "Range": [b"bytes=0-", b"bytes=-0", b"bytes=5-2", b"bytes=0-1,3-4", b"bytes=99999999999999999999-"],
    "If-Range": [b'"x"', b"W/"],
    "If-None-Match": [b"*", b'W/"x"', b'"' + b"x" * 2000],
    "Last-Event-ID": [b"1", b"1.e2", b"999999999", b"1." + b"x" * 500, b"\xd9\xa1"],
    "Content-Type": [b"application/json", b"text/plain", b"multipart/form-data; boundary=" + b"b" * 71],
    "Content-Encoding": [b"gzip", b"identity", b"deflate, gzip"],
    "Content-Length": [b"0", b"-1", b"1e3", b"99999999999999999999", b"4, 4"],
    "Transfer-Encoding": [b"chunked", b"gzip, chunked", b"identity"],
    "Expect": [b"100-continue", b"200-ok"],
    "Host": [b"evil.example", b""],
    "Upgrade": [b"websocket", b"h2c"],
    "X-HTTP-Method-Override": [b"DELETE"],
    "X-Forwarded-For": [b"10.0.0.1"],
    "Origin": [b"https://evil.example", b"null"],
}


def _or_odd(value: bytes | None) -> st.SearchStrategy[bytes]:
    return VALUES if value is None else st.just(value)


ODD_HEADERS = st.lists(
    st.sampled_from(sorted(HEADERS)).flatmap(
        lambda name: st.tuples(st.just(name.encode()), st.sampled_from(HEADERS[name] * 4 + [None]).flatmap(_or_odd))
    ),
    max_size=4,
)
PLACES = st.sampled_from(
    [
        b"/v1/jobs/{id}",
        b"/v1/jobs/{id}/events?cursor={odd}",
        b"/v1/jobs/{id}/artifacts/{odd}",
        b"/v1/jobs/{id}/report",
        b"/v1/jobs/{odd}",
        b"/v1/deliveries/{odd}",
        b"/v1/conversations/{odd}",
        b"/v1/jobs?cursor={odd}",
        b"/v1/jobs?metadata[{odd}]={odd}",
        b"/v1/jobs?{odd}",
        b"/v1/usage?group_by=job&cursor={odd}",
        b"/v1/jobs/{id}?include={odd}",
        b"/gemini/v1/interactions/{odd}",
        b"/gemini/v1/interactions/{id}?stream=true&last_event_id={odd}",
        b"/{odd}",
        b"/docs",
        b"/",
    ]
)
METHODS = st.sampled_from(
    [b"GET"] * 12 + [b"HEAD", b"POST", b"DELETE", b"OPTIONS", b"TRACE", b"PROPFIND", b"PUT", b"CONNECT"]
)
STATUSES = {200, 201, 202, 204, 206, 304, 400, 401, 403, 404, 405, 409, 410, 413, 416, 422, 431}


class Wire:
    """A bare client: each request on a connection of its own."""

    def __init__(self, server: Server, tenant: Tenant) -> None:
        self.port = int(server.url.rpartition(":")[2])
        self.token = tenant.token.encode()
        problem = {**server.contract.document["components"]["schemas"]["Problem"]}
        self.problem = Draft202012Validator({**problem, "components": server.contract.document["components"]})

    def send(self, head: bytes, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
        """The one answer to a request: status, headers in lower case, body."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            connection.sendall(head + b"\r\n\r\n" + body)
            answer = b""
            while b"\r\n\r\n" not in answer and (chunk := connection.recv(65536)):
                answer += chunk
                answer = answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
            top, _, rest = answer.partition(b"\r\n\r\n")
            lines = top.decode("latin-1").split("\r\n")
            found = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
            length = 0 if head.startswith(b"HEAD ") else int(found.get("content-length", "0"))
            while len(rest) < length and (chunk := connection.recv(65536)):
                rest += chunk
        assert lines[0].startswith("HTTP/1.1 "), f"no answer to {head!r}"
        return int(lines[0].split(" ")[1]), found, rest

    def check(self, status: int, headers: dict[str, str], body: bytes, *, is_head: bool = False) -> None:
        """Nobody scripts it, nothing is injected, and a refusal is a problem."""
        assert status in STATUSES
        assert "x-injected" not in headers
        assert "server" not in headers
        assert not [name for name in headers if name.startswith("access-control")]
        assert headers["x-content-type-options"] == "nosniff"
        assert re.fullmatch(r"[ -~]{1,128}", headers["x-request-id"])
        if status >= 400 and not is_head and headers["content-type"] == "application/problem+json":
            assert not list(self.problem.iter_errors(orjson.loads(body)))


SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Iterator[Server]:
    """An application that also hears the upstream's events and takes files."""
    folder = tmp_path_factory.mktemp("odd")
    (folder / "nightdesk.db").write_bytes(sqlite_template.read_bytes())
    with SimulatorServer(Options(speed=10)) as simulator, socket.create_server(("127.0.0.1", 0)) as at:
        settings = prepared(
            data_dir=folder,
            gemini_base_url=simulator.url,
            gemini_webhooks="dynamic",
            gemini_webhook_secrets=SECRET,
            public_url=f"http://127.0.0.1:{at.getsockname()[1]}",
            max_file_bytes=4096,
        )
        with serving(settings, at=at) as made:
            yield made


def test_any_head_is_answered_as_it_should(server: Server) -> None:
    tenant = server.tenant()
    wire, job = Wire(server, tenant), tenant.submit()["id"].encode()
    tenant.post(f"/v1/jobs/{job.decode()}/cancel")
    seen = Counter[int]()

    @anything.examples(250)
    @given(METHODS, PLACES, ODD_HEADERS, VALUES, st.sampled_from([False] * 5 + [True]))
    @example(b"GET", b"/v1/jobs/{id}/events?cursor={odd}", [(b"Last-Event-ID", b"\xd9\xa1")], b"", False)
    @example(b"GET", b"/", [(b"X-Request-Id", b"a\r\n" + MARK)], b"", False)
    def throw(method: bytes, place: bytes, odd: list[tuple[bytes, bytes]], value: bytes, is_raw: bool) -> None:  # noqa: FBT001
        quoted = b"".join(b"%%%02X" % byte for byte in value) if not is_raw else value.replace(b" ", b"+")
        target = place.replace(b"{id}", job).replace(b"{odd}", quoted)
        lines = [b"%s %s HTTP/1.1" % (method, target), b"Host: x"]
        if b"Authorization" not in dict(odd):
            lines.append(b"Authorization: Bearer " + wire.token)

        end = b"0\r\n\r\n" if b"Transfer-Encoding" in dict(odd) else b""

        answer = wire.send(b"\r\n".join([*lines, *(b"%s: %s" % one for one in odd)]), end)

        wire.check(*answer, is_head=method == b"HEAD")
        seen[answer[0]] += 1

    throw()
    assert {200, 400, 401, 404, 405, 422} <= seen.keys(), seen


GOOD_PART = b'Content-Disposition: form-data; name="file"; filename="a.pdf"\r\nContent-Type: application/pdf'
PARTS = st.sampled_from(
    [
        *[GOOD_PART] * 5,
        b'Content-Disposition: form-data; name="file"; filename="../../a\r\n.pdf"',
        b'Content-Disposition: form-data; name="other"',
        b"Content-Disposition: form-data; name=\"file\"; filename*=UTF-8''%e2%82%ac.pdf",
        b"Content-Disposition: form-data; name=file\r\nContent-Transfer-Encoding: base64",
        b'Content-Type: text/plain; charset="\0"',
        b"Content-Disposition: attachment",
        b"X: " + b"x" * 5000,
        b"",
    ]
)
FORMS = st.lists(st.tuples(PARTS, st.binary(max_size=60) | st.just(b"x" * 5000)), max_size=2).flatmap(
    lambda parts: st.tuples(st.just(parts), st.sampled_from([b"--\r\n"] * 4 + [b"--\r\n", b"\r\n", b"", b"--", b"\0"]))
)


def test_any_upload_is_answered_as_it_should(server: Server) -> None:
    wire, seen = Wire(server, server.tenant()), Counter[int]()
    head = b"POST /v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + wire.token
    kinds = st.sampled_from([b"b"] * 12 + [b"c", b'"b"', b"", b"b; boundary=c", b"b" * 71])

    @anything.examples(120)
    @given(FORMS, kinds)
    @example(([(GOOD_PART, b"%PDF-1.7")], b"--\r\n"), b"b")
    def throw(form: tuple[list[tuple[bytes, bytes]], bytes], boundary: bytes) -> None:
        parts, end = form
        body = b"".join(b"--b\r\n%s\r\n\r\n%s\r\n" % part for part in parts) + b"--b" + end
        told = b"Content-Type: multipart/form-data; boundary=%s\r\nContent-Length: %d" % (boundary, len(body))

        answer = wire.send(b"\r\n".join([head, told]), body)

        wire.check(*answer)
        seen[answer[0]] += 1

    throw()
    assert {201, 400, 413, 422} <= seen.keys(), seen


EVENTS = st.sampled_from(
    [
        orjson.dumps(examples.UPSTREAM_EVENT),
        b"{}",
        b"[]",
        b'{"type": 5, "data": {}}',
        b'{"type": "interaction.completed", "data": {"id": "../../v1/x"}}',
        b'{"type": "interaction.completed", "data": {"id": "v1_x", "user_metadata": {"nightdesk": [[1]]}}}',
        b"[" * 900 + b"]" * 900,
        b'{"a": ' * 300 + b"1" + b"}" * 300,
        b"\xff",
    ]
) | st.binary(max_size=80)
CLAIMS = st.fixed_dictionaries(
    {},
    optional={
        "iat": st.sampled_from([0, 1e300, -1, "now", None, True, [], 2**70]),
        "exp": anything.ANYTHING,
        "aud": anything.ANYTHING,
        "nbf": anything.ANYTHING,
        "type": anything.ANYTHING,
        "data": anything.ANYTHING,
        "user_metadata": anything.ANYTHING,
    },
)


def test_any_upstream_event_is_refused_or_heard(server: Server) -> None:
    wire, seen, now_s = Wire(server, server.tenant()), Counter[int](), int(time())
    stranger = Signer()
    times = st.sampled_from([str(now_s).encode(), b"0", b"9" * 30, b"-1", b"1e9", b"\xd9\xa1", b""])
    stamps = st.sampled_from([b"v1,", b"v1,AAAA", b"v1a,x", b"a.b.c", b"e30.e30.", b"..", b" " * 50]) | BYTES

    @anything.examples(150)
    @given(EVENTS, times, stamps, CLAIMS, st.sampled_from(["signed", "token", "odd"]))
    def throw(body: bytes, sent_at: bytes, stamp: bytes, claims: dict[str, object], how: str) -> None:
        if how == "signed":
            sent_at = str(now_s).encode()
            stamp = signature(SECRET, "msg_1", now_s, body).encode() if _is_text(body) else b"v1,AAAA"
        elif how == "token":
            stamp = stranger.token({"iat": now_s} | claims).encode()
        lines = [f"POST {UPSTREAM_PATH} HTTP/1.1".encode(), b"Host: x", b"webhook-id: msg_1"]
        lines += [b"webhook-timestamp: " + sent_at, b"webhook-signature: " + stamp, b"Content-Length: %d" % len(body)]

        answer = wire.send(b"\r\n".join(lines), body)

        wire.check(*answer)
        seen[answer[0]] += 1

    throw()
    assert {204, 400} <= seen.keys(), seen


def _is_text(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True
