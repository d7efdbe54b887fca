"""Opaque page cursors: where the last page ended. Clients must not look inside, so their shape may change."""

import base64
import binascii
import re
from collections.abc import Callable
from operator import attrgetter
from typing import TypeVar

from worker.errors import BadRequest

T = TypeVar("T")

_PLACE = re.compile(r"[a-z0-9_]{1,64}", re.ASCII)


def encode(kind: str, place: str) -> str:
    """A cursor of one kind of list after (or before) `place`."""
    return base64.urlsafe_b64encode(f"{kind}:{place}".encode()).decode().rstrip("=")


def cut(
    kind: str, found: list[T], limit: int, place: Callable[[T], str] = attrgetter("id")
) -> tuple[list[T], str | None]:
    """The page in what was found, of which one more was asked for than it may have, and the cursor of the next."""
    page = found[:limit]
    return page, encode(kind, place(page[-1])) if len(found) > limit else None


def decode(kind: str, text: str | None, shape: re.Pattern[str] = _PLACE) -> str | None:
    """The place in a cursor of this kind of list; None without one; raises BadRequest."""
    if text is None:
        return None
    try:
        found, _, place = (
            base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode().partition(":")
        )
    except (binascii.Error, ValueError):
        raise BadRequest("cursor: is none of ours") from None
    if found != kind or not shape.fullmatch(place):
        raise BadRequest("cursor: is not one of this list")
    return place
