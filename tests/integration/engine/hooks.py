"""A receiver of webhooks on loopback that answers as told and remembers what it got."""

from collections import defaultdict
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Any, Self

import orjson


@dataclass(frozen=True, slots=True)
class Got:
    """One request: its path, headers in lower case, and body."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


@dataclass(frozen=True, slots=True)
class Say:
    """An answer."""

    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Hooks:
    """For `with`. Each path gives its answers in turn, the last one for ever; `hold` keeps a path from giving them."""

    def __init__(self) -> None:
        self.got: list[Got] = []
        self.answers: defaultdict[str, list[Say]] = defaultdict(lambda: [Say()])
        self.held: dict[str, Event] = {}
        self._lock = Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for held in self.held.values():
            held.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def url(self, path: str = "/hook", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self._server.server_port}{path}"

    def hold(self, path: str) -> Event:
        """Requests to this path wait until the event is set."""
        return self.held.setdefault(path, Event())

    def of(self, path: str) -> list[Got]:
        return [got for got in self.got if got.path == path]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hooks = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                path = self.path.partition("?")[0]
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                got = Got(path, {name.lower(): value for name, value in self.headers.items()}, body)
                with hooks._lock:
                    hooks.got.append(got)
                    answers = hooks.answers[path]
                    say = answers.pop(0) if len(answers) > 1 else answers[0]
                if path in hooks.held:
                    hooks.held[path].wait(120)
                self.send_response(say.status)
                for name, value in {"Content-Length": str(len(say.body)), **say.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(say.body)

            def log_message(self, *args: object) -> None:
                """Say nothing."""

        return Handler
