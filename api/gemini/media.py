"""Puts media back into an interaction's JSON, as bytes that are read while they are sent: never all of them at once.

What `worker.gemini.media` took out left its number; what the caller sent himself is taken from his own request.
"""

import re
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import orjson

from api.gemini.act import Act
from api.threads import run_in_threadpool
from worker.context import Context
from worker.gemini.clean import entries
from worker.gemini.media import KINDS, SKIPPED, is_inline

CHUNK_BYTES = 3 * 256 * 1024
"""A multiple of three, so that the base64 of the chunks is that of the whole."""


@dataclass(frozen=True, slots=True)
class Part:
    """An artifact whose base64 stands here."""

    key: str
    size: int

    @property
    def length(self) -> int:
        """How many characters its base64 has."""
        return (self.size + 2) // 3 * 4


def mark(act: Act) -> None:
    """Put a Part in the place of everything that was taken out of what the act gave."""
    for take in act.takes:
        for content in _contents(take.raw):
            number = content.get("artifact")
            # What has another size, or none, has a field of the upstream's own that is called so, too.
            if type(number) is int and content.get("size") == take.sizes.get(number, -1):
                del content["artifact"], content["size"]
                content["data"] = Part(f"{take.folder}/{number}", take.sizes[number])
    _give_back_input(act)


def _give_back_input(act: Act) -> None:
    """The caller's own media, in the order in which he sent them."""
    omitted = [content for take in act.takes for content in _contents(take.raw) if content.get("omitted") is True]
    sent = [content for content in _contents(act.request.get("input")) if is_inline(content)]
    for number, content in enumerate(omitted):
        del content["omitted"]
        content.pop("size", None)
        if len(sent) == len(omitted):
            content["data"] = sent[number]["data"]


def _contents(root: Any) -> Iterator[dict[str, Any]]:
    """Every media content in the order of the JSON; what a function is called with is none, whatever it looks like."""
    stack = [root] if isinstance(root, dict | list) else []
    while stack:
        node = stack.pop()
        if isinstance(node, dict) and isinstance(node.get("type"), str) and node["type"] in KINDS:
            yield node
        stack += reversed(
            [child for key, child in entries(node) if isinstance(child, dict | list) and key not in SKIPPED]
        )


def pieces(value: Any) -> list[bytes | Part]:
    """JSON, cut where the parts belong."""
    parts: list[Part] = []
    sign = uuid4().hex

    def placed(found: Any) -> str:
        assert isinstance(found, Part)
        parts.append(found)
        return sign

    cut = re.split(sign.encode(), orjson.dumps(value, default=placed, option=orjson.OPT_PASSTHROUGH_DATACLASS))
    found: list[bytes | Part] = [cut[0]]
    for part, text in zip(parts, cut[1:], strict=True):
        found += [part, text]
    return found


def length(found: Sequence[bytes | Part]) -> int:
    """How many bytes they come to."""
    return sum(piece.length if isinstance(piece, Part) else len(piece) for piece in found)


async def sent(found: Sequence[bytes | Part], context: Context) -> AsyncIterator[bytes]:
    """The pieces as bytes, one chunk of one artifact at a time; raises NotFound, ArtifactStoreError."""
    for piece in found:
        if isinstance(piece, bytes):
            yield piece
            continue
        for start in range(0, piece.size, CHUNK_BYTES):
            end = min(start + CHUNK_BYTES, piece.size)
            yield b64encode(await run_in_threadpool(context.artifacts.get, piece.key, start, end))
