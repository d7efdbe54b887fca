"""The API's public keys, by which its dynamic events are verified: fetched when needed, kept, and never often.

Whoever names keys that do not exist must not make us fetch: at most one fetch in EVERY_S, and one at a time.
"""

import threading
from collections.abc import Callable
from time import monotonic
from typing import Any

import aiohttp
import orjson
from jwt import PyJWK, PyJWTError

from worker.errors import Unavailable
from worker.gemini.access import CONNECT_S
from worker.gemini.loop import LoopThread

PATH = "/.well-known/jwks.json"
ALGORITHM = "RS256"
EVERY_S = 30.0
FRESH_S = 3600.0
"""How old keys may grow before they are looked at again; old ones serve where that fails."""

FETCH_S = 5.0
MAX_BYTES = 256 * 1024
MAX_KEYS = 64
MIN_BITS = 2048


class KeySet:
    """The keys published at the API's address; shared by the threads of a process."""

    def __init__(self, base_url: str, loop: LoopThread, clock: Callable[[], float] = monotonic) -> None:
        self._url = base_url.rstrip("/") + PATH
        self._loop = loop
        self._clock = clock
        self._fetching = threading.Lock()
        self._keys: dict[str, PyJWK] = {}
        self._tried_at: float | None = None
        self._fetched_at: float | None = None

    def find(self, key_id: str) -> PyJWK | None:
        """Return a key; None: there is none of this id. Raises Unavailable while nobody can tell."""
        if key_id not in self._keys or self._is_old():
            self._refresh()
        found = self._keys.get(key_id)
        if found is None and (self._fetched_at is None or self._fetching.locked()):
            raise Unavailable("the Gemini API's keys cannot be had; try again")
        return found

    def _is_old(self) -> bool:
        return self._fetched_at is None or self._clock() - self._fetched_at > FRESH_S

    def _refresh(self) -> None:
        """Fetch the keys, unless somebody just did or is about to."""
        if not self._fetching.acquire(blocking=False):
            return
        try:
            now = self._clock()
            if self._tried_at is not None and now - self._tried_at < EVERY_S:
                return
            self._tried_at = now
            keys = read_keys(self._loop.run(self._get(), FETCH_S + 1))
            if keys:
                self._keys, self._fetched_at = keys, now
        except (aiohttp.ClientError, TimeoutError, OSError, RuntimeError):
            # The keys there are go on to serve; where there are none, whoever asked is told.
            return
        finally:
            self._fetching.release()

    async def _get(self) -> bytes:
        timeout = aiohttp.ClientTimeout(total=FETCH_S, sock_connect=CONNECT_S)
        body = b""
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=True, raise_for_status=True) as session,
            session.get(self._url, allow_redirects=False) as response,
        ):
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > MAX_BYTES:
                    return b""
        return body


def read_keys(body: bytes) -> dict[str, PyJWK]:
    """Return the RSA keys of a key set by their ids; none where it is no key set. What is unusable is left out."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    listed = document.get("keys") if isinstance(document, dict) else None
    found = [_key(item) for item in (listed if isinstance(listed, list) else [])[:MAX_KEYS]]
    return {key.key_id: key for key in found if key is not None and key.key_id}


def _key(item: Any) -> PyJWK | None:
    if not isinstance(item, dict) or item.get("kty") != "RSA" or item.get("use", "sig") != "sig":
        return None
    try:
        key = PyJWK(item, algorithm=ALGORITHM)
    except (PyJWTError, ValueError, TypeError):
        return None
    is_public = not hasattr(key.key, "private_numbers")
    return key if is_public and key.key.key_size >= MIN_BITS else None
