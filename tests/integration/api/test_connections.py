"""Clients that are slow, many or unreadable: raw sockets against the server's own connections."""

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import orjson
import pytest
import uvicorn
from starlette.types import Message, Receive, Scope, Send

from api import errors
from api.body import BodyLimit, Patience, TooSlow
from api.connection import HEAD_BYTES, limited
from tests.waiting import eventually

MOST = 8
QUICK_S = 0.5
LARGE = 64 * 1024 * 1024
DEADLINE_S = 20.0
QUESTION = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Gives a body back, `/headers` its headers' names, `/large` a stream too large for the buffers between."""
    if scope["type"] != "http":
        return
    status, body, more = 200, b"", True
    try:
        while more:
            message: Message = await receive()
            more = message.get("more_body", False)
            body += message.get("body", b"")
    except TooSlow:
        status = 400
    body = b" ".join(name for name, _ in scope["headers"]) if scope["path"] == "/headers" else body
    size = LARGE if scope["path"] == "/large" else len(body)
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", str(size).encode())]})
    if scope["path"] == "/large":
        for _ in range(LARGE // 2**16):
            await send({"type": "http.response.body", "body": bytes(2**16), "more_body": True})
    await send({"type": "http.response.body", "body": b"" if scope["path"] == "/large" else body})


class Site:
    """A server, and connections to it."""

    def __init__(self, port: int, server: uvicorn.Server, stack: ExitStack) -> None:
        self._port = port
        self._server = server
        self._stack = stack

    def connect(self) -> socket.socket:
        made = self._stack.enter_context(socket.create_connection(("127.0.0.1", self._port), timeout=DEADLINE_S))
        made.settimeout(DEADLINE_S)
        return made

    @property
    def open(self) -> int:
        return len(self._server.server_state.connections)


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def loop(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    return kind


@pytest.fixture(scope="module")
def site(loop: str) -> Iterator[Site]:
    """A server that soon has enough of a slow client."""
    with listening(loop, head_s=QUICK_S, take_s=1.0) as found:
        yield found


@pytest.fixture(scope="module")
def patient_site(loop: str) -> Iterator[Site]:
    """A server for those that it is not about how slow they are."""
    with listening(loop, head_s=2 * DEADLINE_S, take_s=2 * DEADLINE_S, idle_s=2 * DEADLINE_S) as found:
        yield found


@contextmanager
def listening(loop: str, *, head_s: float, take_s: float, idle_s: float = QUICK_S) -> Iterator[Site]:
    body = BodyLimit(echo, 1_000_000, patience=Patience(idle_s=idle_s, grace_s=2 * idle_s, slowest=1e9))
    http = limited(MOST, head_s=head_s, take_s=take_s, linger_s=DEADLINE_S)
    config = uvicorn.Config(body, port=0, http=http, loop=loop, log_config=None, lifespan="off", ws="none")
    with serving(config) as server, ExitStack() as stack:
        yield Site(server.servers[0].sockets[0].getsockname()[1], server, stack)


@contextmanager
def serving(config: uvicorn.Config) -> Iterator[uvicorn.Server]:
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        eventually(lambda: server.started, within_s=20)
        yield server
    finally:
        server.should_exit = True
        thread.join(15)


@pytest.fixture(autouse=True)
def _alone(site: Site, patient_site: Site) -> Iterator[None]:
    yield
    for one in (site, patient_site):
        one._stack.close()
    eventually(lambda: site.open == patient_site.open == 0, within_s=DEADLINE_S, what="the end of the connections")


def answered(client: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """The next answer."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = client.recv(1)
        assert byte, f"no answer, but {head!r}"
        head += byte
    first, *lines = head.decode().strip().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    body = b""
    while len(body) < int(headers["content-length"]):
        body += client.recv(int(headers["content-length"]) - len(body))
    return int(first.split()[1]), headers, body


def problem(client: socket.socket) -> tuple[int, str]:
    status, headers, body = answered(client)
    told = orjson.loads(body)
    assert headers["content-type"] == errors.MEDIA_TYPE
    assert headers["connection"] == "close"
    assert told["status"] == status
    return status, told["code"]


def is_cut(client: socket.socket) -> bool:
    """Whether the other side ended it."""
    try:
        return client.recv(65536) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("begun", [b"", b"\r\n", b"GE", b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: "])
def test_a_head_that_does_not_come_ends_the_connection(site: Site, begun: bytes) -> None:
    client = site.connect()

    client.sendall(begun)

    assert is_cut(client)


def test_a_second_head_has_its_time_too(site: Site) -> None:
    client = site.connect()
    client.sendall(QUESTION)
    assert answered(client)[0] == 200

    client.sendall(b"\r\nGET / HT")

    assert is_cut(client)


def test_a_head_that_comes_in_pieces_is_read(patient_site: Site) -> None:
    client = patient_site.connect()
    for byte in QUESTION:
        client.sendall(bytes([byte]))

    assert answered(client)[0] == 200


def test_bytes_of_the_next_request_cut_none_that_is_being_answered(patient_site: Site) -> None:
    client = patient_site.connect()
    client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab")

    client.sendall(b"cd" + QUESTION[:9])
    client.sendall(QUESTION[9:])

    assert answered(client)[2] == b"abcd"
    assert answered(client)[0] == 200


def test_a_body_that_does_not_come_is_refused(site: Site) -> None:
    client = site.connect()

    client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nab")

    assert answered(client)[0] == 400


def test_a_body_that_trickles_is_refused_after_a_while(site: Site) -> None:
    client = site.connect()
    client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
    client.settimeout(0.05)
    answer = b""

    def is_answered() -> bool:
        nonlocal answer
        client.sendall(b"x")
        try:
            answer += client.recv(65536)
        except TimeoutError:
            return False
        return True

    eventually(is_answered, within_s=DEADLINE_S)

    assert answer.startswith(b"HTTP/1.1 400")


def test_whoever_takes_nothing_is_dropped(site: Site) -> None:
    client = site.connect()
    client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")

    eventually(lambda: site.open == 0, within_s=DEADLINE_S, what="the connection's end")


def occupied(site: Site, number: int) -> list[socket.socket]:
    """Clients that are being answered, and take little of it."""
    busy = [site.connect() for _ in range(number)]
    for client in busy:
        client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(15) == b"HTTP/1.1 200 OK"
    return busy


def is_served(client: socket.socket) -> bool:
    client.sendall(QUESTION)
    return answered(client)[0] == 200


def test_too_many_connections_are_told_so_and_the_others_go_on(patient_site: Site) -> None:
    busy = occupied(patient_site, MOST)

    assert problem(patient_site.connect()) == (503, "unavailable")

    for client in busy:
        assert client.recv(1)
    busy[0].close()
    eventually(lambda: patient_site.open < MOST, within_s=DEADLINE_S)
    assert is_served(patient_site.connect())


def test_where_there_are_too_many_who_has_asked_nothing_for_longest_gives_way(patient_site: Site) -> None:
    half, idle = patient_site.connect(), patient_site.connect()
    half.sendall(b"GET / HT")
    assert is_served(idle)
    occupied(patient_site, MOST - 2)

    one = patient_site.connect()
    assert is_served(one)
    assert is_cut(half)
    assert is_served(idle)
    other = patient_site.connect()
    assert is_served(other)
    assert is_cut(one)
    assert is_served(idle)


def test_upgrades_without_end_in_one_piece_are_answered(patient_site: Site) -> None:
    client, number = patient_site.connect(), 1_000
    client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n" * number)

    assert {answered(client)[0] for _ in range(number)} == {200}


UPGRADES = [
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n",
    b"Connection: Upgrade\r\nUpgrade: websocket\r\n",
]


@pytest.mark.parametrize("upgrade", UPGRADES)
@pytest.mark.parametrize(
    ("framing", "body", "read"),
    [
        (b"Content-Length: 4\r\n", b"abcd", b"abcd"),
        (b"Transfer-Encoding: chunked\r\n", b"2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n", b"abcd"),
        (b"Content-Length: 0\r\n", b"", b""),
        (b"", b"", b""),
    ],
)
def test_whoever_asks_for_an_upgrade_is_answered_without_one(
    patient_site: Site, upgrade: bytes, framing: bytes, body: bytes, read: bytes
) -> None:
    request = b"POST / HTTP/1.1\r\nHost: x\r\n" + upgrade + framing + b"\r\n" + body
    whole, parted = patient_site.connect(), patient_site.connect()

    whole.sendall(request + QUESTION)
    for byte in request + QUESTION:
        parted.sendall(bytes([byte]))

    for client in (whole, parted):
        status, _, told = answered(client)
        assert (status, told) == (200, read)
        assert answered(client)[0] == 200


def test_what_comes_behind_a_body_is_no_header(patient_site: Site) -> None:
    client = patient_site.connect()

    client.sendall(b"POST /headers HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Late: yes\r\n\r\n")

    assert answered(client)[2] == b"host transfer-encoding"


@pytest.mark.parametrize("junk", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"GET\r\n\r\n", b"HELLO THERE\r\n\r\n"])
def test_what_is_no_http_is_told_so_as_a_problem(patient_site: Site, junk: bytes) -> None:
    client = patient_site.connect()

    client.sendall(junk)

    assert problem(client) == (400, "bad_request")


@pytest.mark.parametrize("large", [b"GET /%s HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nX-Large: %s\r\n"])
def test_a_head_may_not_be_as_large_as_it_likes(patient_site: Site, large: bytes) -> None:
    client = patient_site.connect()

    client.sendall(large % (b"x" * (HEAD_BYTES + 1)) + b"\r\n")

    assert problem(client) == (431, "headers_too_large")


def test_many_small_headers_are_one_large_head(patient_site: Site) -> None:
    client = patient_site.connect()

    client.sendall(b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * (HEAD_BYTES // 2 + 1))

    assert problem(client) == (431, "headers_too_large")


def test_a_crowd_of_half_open_connections_is_bounded_and_goes(site: Site) -> None:
    with ExitStack() as stack:
        for _ in range(200):
            half = stack.enter_context(socket.create_connection(("127.0.0.1", site._port), timeout=DEADLINE_S))
            half.setblocking(False)
            try:
                half.sendall(b"GET / HT")
            except OSError:
                continue
        eventually(lambda: site.open <= MOST, within_s=DEADLINE_S)
        eventually(lambda: site.open == 0, within_s=DEADLINE_S)

    def is_served() -> bool:
        """The last of the crowd may still wait to be taken in."""
        try:
            client = site.connect()
            client.sendall(QUESTION)
            return client.recv(12) == b"HTTP/1.1 200"
        except OSError:
            return False

    eventually(is_served, within_s=DEADLINE_S)
