"""One call through the SDK: its client as it must be built, and what an HTTP answer or an exception of it came to.

Knows nothing of what the calls mean. No SDK or HTTP exception leaves this module.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from worker.gemini.access import CONNECT_S, KEEPALIVE_S, Access
from worker.gemini.refusal import Refusal, read_refusal

UNWANTED = ("GOOGLE_GENAI_DEBUG", "GOOGLE_GENAI_HTTP_CLIENT")
"""Variables no argument overrules: the first logs every prompt and the key, the second swaps the HTTP library."""

MAX_BYTES, MAX_PACKED_BYTES = 256 * 1024 * 1024, 256 * 1024
"""Of one answer. None is asked to be compressed: of one that is, each byte may become a thousand."""

LAST_LOOK_S = 0.2
"""The end of a call's time, by itself: a process that was stopped for longer takes what lies there when it wakes."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What one call came to: an HTTP answer, or the name of what went wrong instead and whether anything was sent."""

    status: int | None = None
    body: bytes = b""
    refusal: Refusal | None = None
    trouble: str = ""
    was_sent: bool = True


def sdk_client(access: Access, connections: int) -> Any:
    """Build the SDK's client so that no variable of the environment changes key, address, version, retries or logs."""
    import httpx2  # noqa: PLC0415 - comes with the SDK, which is slow to import
    from google import genai  # noqa: PLC0415 - slow to import
    from google.genai.types import HttpOptions, HttpRetryOptions  # noqa: PLC0415 - the same

    for name in UNWANTED:
        os.environ.pop(name, None)
    pool = httpx2.Limits(
        max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=KEEPALIVE_S
    )
    timeout = httpx2.Timeout(None, connect=CONNECT_S, pool=CONNECT_S)
    options = HttpOptions(
        base_url=access.base_url,
        api_version=access.api_version,
        retry_options=HttpRetryOptions(attempts=1),
        # The SDK would follow a redirect: a second POST, with the key, to wherever it points.
        async_client_args={
            "limits": pool,
            "timeout": timeout,
            "follow_redirects": False,
            "headers": {"Accept-Encoding": "identity"},
            "event_hooks": {"response": [_bound]},
        },
    )
    client = genai.Client(vertexai=False, api_key=access.api_key, http_options=options)
    assert client.aio.interactions is not None, "the resource is built by the first look at it: here, under the lock"
    return client


async def _bound(response: Any) -> None:
    """Let no more of an answer be read than a process can hold."""
    most = MAX_PACKED_BYTES if response.headers.get("Content-Encoding") else MAX_BYTES
    response.stream = _bounded(response.stream, most)


def _bounded(stream: Any, most: int) -> Any:
    import httpx2  # noqa: PLC0415 - imported by now

    class Bounded(httpx2.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            taken = 0
            async for chunk in stream:
                taken += len(chunk)
                if taken > most:
                    raise httpx2.ReadError("the answer is too large")
                yield chunk

        async def aclose(self) -> None:
            await stream.aclose()

    return Bounded()


async def talk(
    client: Any, call: Callable[[Any], Awaitable[Any]], timeout_s: float, resource: str = "interactions"
) -> Reply:
    """Make one call on one of the SDK's raw resources within a total time; never raises for anything remote."""
    task = asyncio.ensure_future(call(getattr(client.aio, resource).with_raw_response))
    try:
        await asyncio.wait({task}, timeout=timeout_s - LAST_LOOK_S)
        await asyncio.wait({task}, timeout=LAST_LOOK_S)
        if not task.done():
            return Reply(trouble="timeout")
        answer = task.result()
    except Exception as error:  # noqa: BLE001 - recorded: every foreign exception becomes a reply
        return _reply_to(error)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return Reply(answer.http_response.status_code, answer.http_response.content)


def _reply_to(error: BaseException) -> Reply:
    """Tell an HTTP answer from a failure, and a failure before anything was sent from one after."""
    import httpx2  # noqa: PLC0415 - imported by now

    unsent = (
        httpx2.ConnectError,
        httpx2.ConnectTimeout,
        httpx2.PoolTimeout,
        httpx2.ProxyError,
        httpx2.UnsupportedProtocol,
    )
    response = getattr(error, "response", None)
    if response is not None:
        refusal = read_refusal(response.status_code, response.headers, response.content)
        return Reply(refusal.status, response.content, refusal)
    links = [error]
    while (cause := links[-1].__cause__) is not None and cause not in links:
        links.append(cause)
    last = next((link for link in links if isinstance(link, httpx2.HTTPError)), error)
    return Reply(trouble=type(last).__name__, was_sent=not isinstance(last, unsent))
