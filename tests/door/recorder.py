"""A proxy on loopback that writes down what passes: requests and answers, without keys."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2

KEY_HEADERS = ("x-goog-api-key", "authorization")
PASSED_ON = ("content-type", "user-agent", "accept", *KEY_HEADERS)
TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer."""

    method: str
    path: str
    key_header: str
    agent: str
    body: str
    status: int
    kind: str
    answer: str


@dataclass
class Recorder:
    """Where the proxy is, and what passed."""

    url: str
    exchanges: list[Exchange] = field(default_factory=list)


@contextmanager
def recording(target: str) -> Iterator[Recorder]:
    """Pass everything on to `target` until the end of the block; one request at a time is all that a program needs."""
    recorder = Recorder("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._pass()

        def do_POST(self) -> None:
            self._pass()

        def _pass(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name: self.headers[name] for name in PASSED_ON if name in self.headers}
            answer = httpx2.request(
                self.command, f"{target}{self.path}", content=body, headers=headers, timeout=TIMEOUT_S
            )
            kind = answer.headers["content-type"].partition(";")[0]
            recorder.exchanges.append(
                Exchange(
                    method=self.command,
                    path=self.path,
                    key_header=next((name for name in KEY_HEADERS if name in headers), "none"),
                    agent=headers.get("user-agent", ""),
                    body=body.decode(),
                    status=answer.status_code,
                    kind=kind,
                    answer=answer.text,
                )
            )
            self.send_response(answer.status_code)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, *_: object) -> None:
            """What passes is written down above."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    recorder.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, name="recorder")
    thread.start()
    try:
        yield recorder
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
