"""Reads JSON that the upstream sent, and makes it safe for all that stands behind: databases, serialisers, clients.

Everything the upstream says passes here, so that nothing it says can keep a job from being recorded. What is plain
JSON stays as it is. Beyond 64 bits a number has the precision of a double, as in most JSON readers.
"""

import json
import re
from collections.abc import Iterator
from math import isfinite
from typing import Any

import orjson

MAX_DEPTH = 200
"""Deeper JSON is cut: serialisers give up at 254 levels, and nothing of use lives down there."""

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"|[\[{]|[\]}]', re.DOTALL)
_SURROGATE = re.compile("[\ud800-\udfff]")


def parse(body: bytes) -> Any:
    """Return the JSON of a body, also of one that only just is JSON; raises ValueError for anything else.

    Half a surrogate pair becomes U+FFFD, a number beyond a double becomes null, JSON nested too deep is cut.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    text = _cut(body.decode("utf-8-sig", "replace"))
    try:
        value = json.loads(text, strict=False, parse_int=_number, parse_float=_number, parse_constant=lambda _: None)
    except RecursionError:
        raise ValueError("the JSON is nested too deep") from None
    return orjson.loads(_SURROGATE.sub("\ufffd", json.dumps(value, ensure_ascii=False)))


def parse_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in a body; an empty one where there is none."""
    try:
        value = parse(body)
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {}


def first_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in a body or, as the platform writes some answers, in a list; an empty one without any."""
    try:
        value = parse(body)
    except ValueError:
        value = None
    if isinstance(value, list) and value:
        value = value[0]
    return value if isinstance(value, dict) else {}


def tidy(root: Any, *, has_nul: bool) -> bool:
    """Cut what is nested too deep and, if `has_nul`, put a space for each NUL, which databases refuse. True if it cut.

    A space is one byte and one character as NUL is, so that offsets into the text stay right.
    """
    was_cut = False
    stack: list[tuple[Any, int]] = [(root, 1)]
    while stack:
        node, depth = stack.pop()
        if has_nul and isinstance(node, dict) and any("\0" in key for key in node):
            _rename(node)
        for key, child in list(entries(node)):
            if isinstance(child, (dict, list)):
                if depth >= MAX_DEPTH:
                    node[key], was_cut = None, True
                else:
                    stack.append((child, depth + 1))
            elif has_nul and isinstance(child, str) and "\0" in child:
                node[key] = child.replace("\0", " ")
    return was_cut


def _rename(node: dict[str, Any]) -> None:
    """Name each entry without NUL, in its place, and no two alike."""
    given = dict(node)
    node.clear()
    for key, child in given.items():
        name = key.replace("\0", " ")
        while name != key and (name in given or name in node):
            name += " "
        node[name] = child


def entries(node: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the places of a list or an object, each with what stands there."""
    return iter(node.items()) if isinstance(node, dict) else enumerate(node)


def _number(text: str) -> float | None:
    """Return a number as orjson reads it, None where it would be infinite."""
    if text.lstrip("-").isdecimal() and len(text) <= 20 and -(2**63) <= int(text) < 2**64:
        return int(text)
    value = float(text)
    return value if isfinite(value) else None


def _cut(text: str) -> str:
    """Put null for whatever is nested so deep that no reader takes it, and a level deeper than `tidy` leaves."""
    kept, start, depth = list[str](), 0, 0
    for token in _TOKEN.finditer(text):
        sign = token[0][0]
        if sign in "[{":
            depth += 1
            if depth == MAX_DEPTH + 2:
                kept.append(text[start : token.start()])
        elif sign in "]}":
            depth -= 1
            if depth == MAX_DEPTH + 1:
                kept.append("null")
                start = token.end()
    return "".join([*kept, text[start:]])
