"""Which header fields may travel with a webhook: an endpoint's own are checked when registered, all of them when sent.

Keeps owners of endpoints from forging the request's frame, another host's name or the signature.
"""

import re
from collections.abc import Mapping

MAX_VALUE = 4096

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_VALUE = re.compile(r"[\t\x20-\x7e]*")

_FRAMING = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_OURS = frozenset({"content-type", "user-agent", "webhook-id", "webhook-signature", "webhook-timestamp"})


def custom_header_fault(name: str, value: str) -> str | None:
    """Say why an endpoint's owner may not set this header field; None means it is fine. Never repeats the value."""
    if name.lower() in _OURS:
        return "is set by the sender"
    return _fault(name, value)


def headers_fault(headers: Mapping[str, str]) -> str | None:
    """Say why these header fields cannot be sent; None means they can. Never repeats a value."""
    faults = (_fault(name, value) for name, value in headers.items())
    return next((f"a header {fault}" for fault in faults if fault), None)


def _fault(name: str, value: str) -> str | None:
    if not _TOKEN.fullmatch(name):
        return "has a name that is not valid"
    if name.lower() in _FRAMING:
        return "would change how the request is framed or routed"
    if len(value) > MAX_VALUE or not _VALUE.fullmatch(value):
        return f"has a value that is not printable ASCII of at most {MAX_VALUE} characters"
    return None
