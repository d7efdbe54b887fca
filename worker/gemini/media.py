"""Takes media out of an interaction's JSON, and makes what is left safe to store. Pure; alters the JSON it is given.

A content whose bytes were taken keeps its type and MIME type and gains `artifact` (the artifact's number) and `size`;
the caller's own input, which some answers repeat, only loses its bytes and gains `omitted` instead.
"""

import re
from base64 import b64decode
from binascii import Error as BadBase64
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

KINDS = frozenset({"image", "audio", "video", "document"})
MAX_DEPTH = 200
"""Deeper JSON is cut: serialisers give up at 254 levels, and nothing of use lives down there."""

_MIME_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+(?:;[ \w.+=\"-]+)*", re.ASCII)
_SKIPPED = frozenset({"arguments"})
"""What a function is called with belongs to the function, whatever it looks like."""


@dataclass(frozen=True, slots=True)
class Media:
    """One piece of media: its number among the artifacts, its kind, MIME type and bytes."""

    n: int
    kind: str
    mime_type: str
    data: bytes = field(repr=False)


def take_media(root: dict[str, Any], outputs: list[dict[str, Any]]) -> tuple[list[Media], list[str]]:
    """Take all inline media out of `root`, those in `outputs` (contents within it) first; return them, and notes."""
    taken: list[Media] = []
    notes: list[str] = []
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
        data = _decoded(content["data"])
        if data is None:
            notes.append(f"an output of type {content['type']} is not valid base64 and was left as it is")
            continue
        kind, mime_type = content["type"], content.get("mime_type")
        is_mime_type = isinstance(mime_type, str) and _MIME_TYPE.fullmatch(mime_type) is not None
        taken.append(Media(len(taken), kind, str(mime_type) if is_mime_type else "application/octet-stream", data))
        del content["data"]
        content |= {"artifact": taken[-1].n, "size": len(data)}
    return taken, notes


def is_inline(content: Any) -> bool:
    """Whether this is a media content that carries its bytes."""
    return (
        isinstance(content, dict)
        and isinstance(content.get("type"), str)
        and content["type"] in KINDS
        and isinstance(content.get("data"), str)
        and content["data"] != ""
    )


def tidy(root: Any, *, has_nul: bool) -> bool:
    """Cut what is nested too deep and, if `has_nul`, put a space for each NUL, which databases refuse. True if it cut.

    A space is one byte and one character as NUL is, so that offsets into the text stay right.
    """
    was_cut = False
    stack: list[tuple[Any, int]] = [(root, 1)]
    while stack:
        node, depth = stack.pop()
        if has_nul and isinstance(node, dict):
            for key in [key for key in node if "\0" in key]:
                node[key.replace("\0", " ")] = node.pop(key)
        for key, child in list(_entries(node)):
            if isinstance(child, (dict, list)):
                if depth >= MAX_DEPTH:
                    node[key], was_cut = None, True
                else:
                    stack.append((child, depth + 1))
            elif has_nul and isinstance(child, str) and "\0" in child:
                node[key] = child.replace("\0", " ")
    return was_cut


def _contents(root: dict[str, Any]) -> Iterator[tuple[dict[str, Any], bool]]:
    """Yield every inline media content in the order of the JSON, and whether it is the caller's own input."""
    stack: list[tuple[Any, bool]] = [(root, False)]
    while stack:
        node, is_input = stack.pop()
        if is_inline(node):
            yield node, is_input
            continue
        inner = is_input or (isinstance(node, dict) and node.get("type") == "user_input")
        children = [(child, inner or key == "input") for key, child in _entries(node) if key not in _SKIPPED]
        stack.extend(pair for pair in reversed(children) if isinstance(pair[0], (dict, list)))


def _entries(node: Any) -> Iterator[tuple[Any, Any]]:
    return iter(node.items()) if isinstance(node, dict) else enumerate(node)


def _decoded(data: str) -> bytes | None:
    """Return the bytes of base64 in either alphabet, with or without padding; None if it is something else."""
    try:
        text = "".join(data.split()).rstrip("=").encode("ascii").translate(bytes.maketrans(b"-_", b"+/"))
        return b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except (BadBase64, UnicodeEncodeError):
        return None
