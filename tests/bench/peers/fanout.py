"""The barest fan-out of live steps: one aiohttp stream for each run, its lines written to everybody who watches it.

Run as `python -m tests.bench.peers.fanout UPSTREAM PORT`. No HTTP framework, no ids, no history, no stored events, no
limits, nothing that a slow reader would not block: the floor.
"""

import asyncio
import sys
from collections import defaultdict

import aiohttp
import uvloop

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


class Fanout:
    """All runs and their watchers."""

    def __init__(self, session: aiohttp.ClientSession, upstream: str) -> None:
        self._session = session
        self._upstream = upstream
        self._watchers: defaultdict[str, list[asyncio.StreamWriter]] = defaultdict(list)
        self._tasks: list[asyncio.Task[None]] = []

    async def welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take a watcher of `GET /{run}`."""
        head = await reader.readuntil(b"\r\n\r\n")
        run = head.split(b" ", 2)[1].decode().strip("/?")
        writer.write(HEAD)
        self._watchers[run].append(writer)
        if len(self._watchers[run]) == 1:
            self._tasks.append(asyncio.create_task(self._follow(run)))

    async def _follow(self, run: str) -> None:
        timeout = aiohttp.ClientTimeout(total=None)
        url = f"{self._upstream}/v1/interactions/{run}?stream=true"
        async with self._session.get(url, timeout=timeout) as response:
            event = b""
            async for line in response.content:
                event += line
                if line == b"\n":
                    frame = b"%x\r\n%b\r\n" % (len(event), event)
                    for writer in self._watchers[run]:
                        writer.write(frame)
                    event = b""
        for writer in self._watchers.pop(run):
            writer.write(b"0\r\n\r\n")
            writer.close()


async def main(upstream: str, port: int) -> None:
    """Serve until killed."""
    async with aiohttp.ClientSession(
        headers={"x-goog-api-key": "simulated"}, connector=aiohttp.TCPConnector(limit=0)
    ) as session:
        fanout = Fanout(session, upstream)
        server = await asyncio.start_server(fanout.welcome, "127.0.0.1", port, backlog=1024)
        print("serves", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2])))
