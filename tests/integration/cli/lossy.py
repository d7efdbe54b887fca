"""A way to an HTTP server on which answers get lost: the request arrives, the connection breaks, nobody can tell."""

from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit


class Lossy:
    """For `with`: passes requests on to `target` and loses as many answers as `losses` has for their method."""

    def __init__(self, target: str) -> None:
        self.losses = {"GET": 0, "POST": 0}
        self.keys: list[str | None] = []
        way, address = self, urlsplit(target)

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                way.keys.append(self.headers["Idempotency-Key"])
                self.do_GET()

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"] or 0))
                onward = HTTPConnection(address.hostname or "", address.port, timeout=30)
                onward.request(self.command, self.path, body, dict(self.headers))
                answer = onward.getresponse()
                content = answer.read()
                onward.close()
                if way.losses[self.command]:
                    way.losses[self.command] -= 1
                    return
                self.send_response(answer.status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Nobody wants to know."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
