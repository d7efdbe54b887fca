"""A small synchronous client of the `/_sim` control calls, for tests and scripts."""

from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import orjson

from worker.dev.simulator.prompt import prompt_hash

_TIMEOUT_S = 30
_PAGE = 1_000


class ControlError(Exception):
    """The simulator refused a control call; the message says why."""


class Control:
    """Talks to the simulator at a URL; every call opens its own connection, so any thread may use it."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._host, self._port = address.hostname or "127.0.0.1", address.port

    def fault(self, call: str, kind: str = "status", **limits: Any) -> None:
        """Add a fault rule: see `faults.Rule` for the limits, and `for_s`."""
        self._call("POST", "/_sim/faults", {"call": call, "kind": kind, **limits})

    def clear_faults(self) -> None:
        """Remove the fault rules set by `fault`."""
        self._call("DELETE", "/_sim/faults")

    def interactions(self) -> list[dict[str, Any]]:
        """Return every interaction that was made, oldest first, deleted ones included."""
        return list(self._pages())

    def stats(self) -> dict[str, Any]:
        """Return the counts of calls, creates, prompts and labels."""
        return self._call("GET", "/_sim/stats")

    def posts(self, prompt: str) -> int:
        """Return how many creates arrived with exactly these words, accepted or not."""
        return self._prompt(prompt, "posts")

    def created(self, prompt: str) -> int:
        """Return how many interactions were made from exactly these words."""
        return self._prompt(prompt, "created")

    def advance(self, seconds: float) -> None:
        """Move the simulator's clock forward."""
        self._call("POST", "/_sim/advance", {"seconds": seconds})

    def direct(self, interaction_id: str, **changes: Any) -> dict[str, Any]:
        """Change a run: fields of `script.Script`, `finish=True` to end it now, `body={…}` to replace its body."""
        return self._call("POST", f"/_sim/interactions/{interaction_id}", changes)

    def events(self, **rules: Any) -> dict[str, int]:
        """Say how events are sent, see `courier.Rules`; return how many were delivered, failed, withheld."""
        method, data = ("POST", rules) if rules else ("GET", None)
        sent: dict[str, int] = self._call(method, "/_sim/events", data)["sent"]
        return sent

    def files(self) -> dict[str, Any]:
        """Return the `files` there are, and how many uploads are `under_way`."""
        return self._call("GET", "/_sim/files")

    def request(self, interaction_id: str) -> dict[str, Any]:
        """Return the body of a create as it came, without nulls at its top."""
        return self._call("GET", f"/_sim/interactions/{interaction_id}")

    def reset(self) -> None:
        """Forget interactions, faults and counts, and set the clock right."""
        self._call("POST", "/_sim/reset")

    def _prompt(self, prompt: str, what: str) -> int:
        counts = self.stats()["prompts"].get(prompt_hash(prompt), {})
        return int(counts.get(what, 0))

    def _pages(self) -> Iterator[dict[str, Any]]:
        offset = 0
        while page := self._call("GET", f"/_sim/interactions?offset={offset}&limit={_PAGE}")["interactions"]:
            yield from page
            offset += len(page)

    def _call(self, method: str, path: str, data: Any = None) -> dict[str, Any]:
        connection = HTTPConnection(self._host, self._port, timeout=_TIMEOUT_S)
        try:
            connection.request(method, path, None if data is None else orjson.dumps(data))
            response = connection.getresponse()
            body: dict[str, Any] = orjson.loads(response.read())
            if response.status != 200:
                raise ControlError(str(body))
            return body
        finally:
            connection.close()
