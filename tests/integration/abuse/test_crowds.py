"""What a connection may do before there is a request, and a crowd of those that never bring one."""

import resource
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from time import monotonic

import httpx2
import pytest

from api.connection import limited
from tests.integration.api.serving import Server, prepared, serving
from tests.stack import Stack

CROWD = 1000
JOB = {"model": "gemini-3.8-flash", "input": "Say hello."}
WITHIN_S = 1.0
IN_TURN_S = 2.0
"""What one who asks beside heavy bodies waits: a tenth of that, and three seconds where all are read at once."""

HEAD = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
POST = b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("hasty")
    (folder / "nightdesk.db").write_bytes(sqlite_template.read_bytes())
    with serving(prepared(data_dir=folder), http=limited(CROWD, head_s=0.3)) as server:
        yield server


def connect(url: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=60)


def said(connection: socket.socket) -> bytes:
    """Everything until the other side closes."""
    found = b""
    while chunk := connection.recv(65536):
        found += chunk
    return found


@pytest.mark.parametrize("begun", [b"", b"G", HEAD, HEAD + b"\r\n" + HEAD])
def test_a_head_that_does_not_come_in_time_ends_its_connection(hasty: Server, begun: bytes) -> None:
    with connect(hasty.url) as connection:
        connection.sendall(begun)

        answers = said(connection)

    assert answers.count(b"HTTP/1.1 200") == begun.count(b"\r\n\r\n")


def test_a_body_may_take_longer_than_a_head(hasty: Server) -> None:
    token = hasty.tenant().token.encode()
    with connect(hasty.url) as connection:
        connection.sendall(POST % token + b"Content-Length: 2\r\n\r\n")
        connection.settimeout(1)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        connection.settimeout(60)
        connection.sendall(b"[]")

        assert connection.recv(65536).startswith(b"HTTP/1.1 422")


def test_a_large_body_in_small_pieces_is_no_head(hasty: Server) -> None:
    token = hasty.tenant().token.encode()
    body = b'{"model": "gemini-3.8-flash", "input": "' + b"x" * 300_000 + b'"}'
    with connect(hasty.url) as connection:
        connection.sendall(POST % token + b"Content-Length: %d\r\n\r\n" % len(body))
        for start in range(0, len(body), 1000):
            connection.sendall(body[start : start + 1000])

        assert connection.recv(65536).startswith(b"HTTP/1.1 202")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("crowd"), workers=0) as made:
        yield made


def test_a_crowd_of_half_open_connections_holds_nobody_up(stack: Stack) -> None:
    post = POST % stack.key.encode()
    kinds = [
        b"",
        HEAD,
        HEAD + b"X-Slow: ",
        post + b"Content-Length: 1000000\r\n\r\n{",
        post + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
    ]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4 * CROWD)), hard))
    took = []
    with ExitStack() as crowd, httpx2.Client(base_url=stack.url, headers=stack.headers, timeout=60) as good:
        assert good.post("/v1/jobs", json=JOB).status_code == 202
        slow = [crowd.enter_context(connect(stack.url)) for _ in range(CROWD)]
        for number, connection in enumerate(slow):
            connection.sendall(kinds[number % len(kinds)])
        for number in range(30):
            for connection in slow[number::30]:
                # A letter at a time, as one who wants to stay for long.
                connection.sendall(b"a" if number % 2 else b" ")
            began = monotonic()
            job_id = good.post("/v1/jobs", json=JOB).json()["id"]
            assert good.get(f"/v1/jobs/{job_id}").status_code == 200
            took.append(monotonic() - began)

        assert good.get("/healthz").status_code == 200

    # The machine itself may stop for moments; the crowd is there all the time.
    assert median(took) < WITHIN_S, took


def around(hollow: bytes, unit: bytes, number: int) -> bytes:
    """A create whose one result holds so many of these."""
    held = b'[{"type": "function_result", "call_id": "c", "result": {"a": [' + unit * number + hollow + b"]}}]"
    return b'{"model": "gemini-3.8-flash", "input": ' + held + b"}"


HEAVY = {
    "lists, more than are read": around(b"[]", b"[],", 6_000_000),
    "lists in lists, as many as are read": around(b"0", b"[[[[[[]]]]]],", 140_000),
    "a text of marks": around(b'"' + b'\\",' * 1_500_000 + b'"', b"", 0),
    "contents of no type": b'{"model": "gemini-3.8-flash", "input": [' + b"{}," * 19_000 + b"{}]}",
}


@pytest.mark.parametrize("what", HEAVY)
def test_the_heaviest_bodies_hold_nobody_up(stack: Stack, what: str) -> None:
    told = {**stack.headers, "Content-Type": "application/json"}
    is_over = threading.Event()

    def throw() -> set[int]:
        seen = set()
        with httpx2.Client(base_url=stack.url, headers=told, timeout=60) as hostile:
            while not is_over.is_set():
                seen.add(hostile.post("/v1/jobs", content=HEAVY[what]).status_code)
        return seen

    took = []
    with httpx2.Client(base_url=stack.url, headers=stack.headers, timeout=60) as good, ThreadPoolExecutor(3) as threads:
        began = monotonic()
        good.post("/v1/jobs", content=HEAVY[what])
        alone_s = monotonic() - began
        thrown = [threads.submit(throw) for _ in range(3)]
        try:
            for _ in range(12):
                began = monotonic()
                assert good.get("/healthz").status_code == 200
                took.append(monotonic() - began)
                assert good.post("/v1/jobs", json=JOB).status_code == 202
        finally:
            is_over.set()

    assert set().union(*(one.result() for one in thrown)) <= {202, 422, 429}
    # On a machine that is slow just now, one such body takes as much longer.
    assert median(took) < max(IN_TURN_S, 1.5 * alone_s), (took, alone_s)
