"""Takes media out of an interaction's JSON, and makes what is left safe to store. Pure; alters the JSON it is given.

A content whose bytes were taken keeps its type and MIME type and gains `artifact` (the artifact's number) and `size`;
the caller's own input, which some answers repeat, only loses its bytes and gains `omitted` instead.
"""

import re
from base64 import b64decode
from binascii import Error as BadBase64
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from worker.gemini.clean import entries

KINDS = ("image", "audio", "video", "document")
"""A tuple, for a content's `type` may be anything, also something that cannot be hashed."""

MAX_MEDIA, MAX_LINKS = 1000, 20
MIME_TYPE_MAX = 255

_MIME_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+(?:;[ \w.+=\"-]+)*", re.ASCII)
_RAW, MAX_RATE_HZ = "audio/l16", 1_000_000
_TAKEN = {"data", "artifact"}
SKIPPED = frozenset({"arguments"})
"""What a function is called with belongs to the function, whatever it looks like."""


@dataclass(frozen=True, slots=True)
class Media:
    """One piece of media: its number among the artifacts, its kind, MIME type and bytes."""

    n: int
    kind: str
    mime_type: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Link:
    """One piece of media that is named instead of sent: where it is, its kind and MIME type."""

    uri: str = field(repr=False)
    kind: str
    mime_type: str


def links_in(outputs: Iterable[dict[str, Any]]) -> tuple[Link, ...]:
    """Return the media that these contents name by URI, each once, up to MAX_LINKS."""
    found: dict[str, Link] = {}
    for content in outputs:
        kind, uri = content.get("type"), content.get("uri")
        is_link = isinstance(kind, str) and kind in KINDS and isinstance(uri, str) and not content.keys() & _TAKEN
        if is_link and len(found) < MAX_LINKS:
            found.setdefault(str(uri), Link(str(uri), str(kind), _mime_type(content)))
    return tuple(found.values())


def take_media(root: dict[str, Any], outputs: list[dict[str, Any]]) -> tuple[list[Media], list[str]]:
    """Take all inline media out of `root`, those in `outputs` (contents within it) first; return them, and notes."""
    taken: list[Media] = []
    left = Counter[str]()
    seen: set[int] = set()
    ours = ((content, False) for content in outputs)
    for content, is_input in (*ours, *_contents(root)):
        if id(content) in seen:
            continue
        seen.add(id(content))
        if is_input:
            content["size"] = len(content.pop("data")) * 3 // 4
            content["omitted"] = True
            continue
        data = _decoded(content["data"]) if len(taken) < MAX_MEDIA else None
        if data is None:
            left[content["type"]] += 1
            continue
        taken.append(Media(len(taken), content["type"], _mime_type(content), data))
        del content["data"]
        content |= {"artifact": taken[-1].n, "size": len(data)}
    return taken, [_left_note(kind, number) for kind, number in left.items()]


def is_inline(content: Any) -> bool:
    """Whether this is a media content that carries its bytes."""
    return (
        isinstance(content, dict)
        and isinstance(content.get("type"), str)
        and content["type"] in KINDS
        and isinstance(content.get("data"), str)
        and content["data"] != ""
    )


def _contents(root: dict[str, Any]) -> Iterator[tuple[dict[str, Any], bool]]:
    """Yield every inline media content in the order of the JSON, and whether it is the caller's own input."""
    stack: list[tuple[Any, bool]] = [(root, False)]
    while stack:
        node, is_input = stack.pop()
        if is_inline(node):
            yield node, is_input
            continue
        children = [
            (child, is_input or _is_input(root, node, key, child))
            for key, child in entries(node)
            if isinstance(child, (dict, list)) and key not in SKIPPED
        ]
        stack.extend(reversed(children))


def _is_input(root: dict[str, Any], node: Any, key: Any, child: Any) -> bool:
    """Whether this is what the caller sent: the field `input`, or a step of that type; deeper it may mean anything."""
    if node is root:
        return bool(key == "input")
    return node is root.get("steps") and isinstance(child, dict) and child.get("type") == "user_input"


def _mime_type(content: dict[str, Any]) -> str:
    """Return the MIME type that a content has; MCP servers, whose answers are passed through, spell it differently."""
    for name in ("mime_type", "mimeType"):
        value = content.get(name)
        if isinstance(value, str) and len(value) <= MIME_TYPE_MAX and _MIME_TYPE.fullmatch(value):
            return _with_rate(value, content) if value.lower().startswith(_RAW) else value
    return "application/octet-stream"


def _with_rate(mime_type: str, content: dict[str, Any]) -> str:
    """Return the type of raw sound with what is needed to play it, which may stand beside it."""
    for name, field_name in (("rate", "sample_rate"), ("channels", "channels")):
        value = content.get(field_name)
        if f"{name}=" not in mime_type.lower() and isinstance(value, int) and 0 < value < MAX_RATE_HZ:
            mime_type += f";{name}={int(value)}"
    return mime_type


def _left_note(kind: str, number: int) -> str:
    subject = f"an output of type {kind} is" if number == 1 else f"{number} outputs of type {kind} are"
    return f"{subject} not valid base64, or one too many, and left in the steps"


def _decoded(data: str) -> bytes | None:
    """Return the bytes of base64 in either alphabet, with or without padding; None if it is something else."""
    try:
        text = "".join(data.split()).rstrip("=").encode("ascii").translate(bytes.maketrans(b"-_", b"+/"))
        return b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except (BadBase64, UnicodeEncodeError):
        return None
