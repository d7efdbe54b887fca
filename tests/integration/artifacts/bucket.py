"""A bucket that speaks as much of S3's protocol as the artifact store needs, on loopback, in memory."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree as ET

PART_PREFIX = "part/"


class Bucket(ThreadingHTTPServer):
    """Objects by key; `failing` answers the next so many requests with 503, `calls` are those that came."""

    daemon_threads = True

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.calls: list[str] = []
        self.failing = 0
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.02,), name="bucket", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    """One connection; paths are `/{bucket}/{key}`."""

    server: Bucket
    protocol_version = "HTTP/1.1"

    def handle_any(self) -> None:
        parts = urlsplit(self.path)
        self.query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        self.key = unquote(parts.path).removeprefix("/").partition("/")[2]
        self.body = self._body()
        self.server.calls.append(f"{self.command} {self.key}")
        if self.server.failing:
            self.server.failing -= 1
            self.answer(503)
            return
        {"GET": self.get, "HEAD": self.get, "PUT": self.put, "POST": self.post, "DELETE": self.delete}[self.command]()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any  # noqa: N815 - the library's names

    def get(self) -> None:
        if "list-type" in self.query:
            self.listing()
        elif self.key not in self.server.objects:
            self.answer(404)
        else:
            data, wanted = self.server.objects[self.key], self.headers.get("range")
            first, _, last = (wanted or "bytes=0-").removeprefix("bytes=").partition("-")
            stop = min(len(data), int(last) + 1) if last else len(data)
            told = {"Content-Range": f"bytes {first}-{stop - 1}/{len(data)}"} if wanted else {}
            self.answer(206 if wanted else 200, data[int(first) : stop], **told)

    def put(self) -> None:
        part = self.query.get("partNumber")
        self.server.objects[f"{PART_PREFIX}{int(part):05}" if part else self.key] = self.body
        self.answer(200)

    def post(self) -> None:
        if "uploads" in self.query:
            self.answer(200, b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>")
        elif "uploadId" in self.query:
            parts = sorted(name for name in self.server.objects if name.startswith(PART_PREFIX))
            self.server.objects[self.key] = b"".join(self.server.objects.pop(name) for name in parts)
            self.answer(200, b"<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>")
        else:
            named = [name.text or "" for name in ET.fromstring(self.body).iterfind(".//{*}Key")]
            for name in named:
                self.server.objects.pop(name, None)
            deleted = "".join(f"<Deleted><Key>{name}</Key></Deleted>" for name in named)
            self.answer(200, f"<DeleteResult>{deleted}</DeleteResult>".encode())

    def delete(self) -> None:
        self.server.objects.pop(self.key, None)
        self.answer(204)

    def listing(self) -> None:
        found = [name for name in sorted(self.server.objects) if name.startswith(self.query.get("prefix", ""))]
        contents = "".join(
            f"<Contents><Key>{name}</Key><Size>{len(self.server.objects[name])}</Size><ETag>e</ETag>"
            "<LastModified>2026-11-21T10:00:00.000Z</LastModified></Contents>"
            for name in found
        )
        self.answer(200, f"<ListBucketResult><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>".encode())

    def answer(self, status: int, data: bytes = b"", **headers: str) -> None:
        told = {"ETag": '"e"', "Last-Modified": "Sat, 21 Nov 2026 10:00:00 GMT", **headers}
        self.send_response(status)
        for name, value in {**told, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("transfer-encoding", ""):
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        data = b""
        while size := int(self.rfile.readline().strip() or b"0", 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data
