"""One byte range of a `Range` header (RFC 9110 14)."""

import re

from api.errors import RangeNotSatisfiable

_ONE = re.compile(r"bytes=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", re.ASCII | re.IGNORECASE)


def parse(header: str | None, size: int) -> tuple[int, int] | None:
    """First byte and end (exclusive) of the range asked for; None where the whole is to be sent.

    Several ranges, other units and what cannot be read are ignored, as the RFC allows; raises RangeNotSatisfiable.
    """
    found = _ONE.fullmatch(header or "")
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(size, int(last) + 1 if last else size)
        if last and int(last) < int(first):
            return None
    if start >= end:
        raise RangeNotSatisfiable(size)
    return start, end
