"""What may stand in `input`: contents or steps of known types, and media that can be read. Pure: no value is echoed."""

from collections.abc import Iterator, Mapping
from typing import Any

from worker.errors import Fault, pointer_to
from worker.gemini.media import KINDS
from worker.gemini.shapes import type_of, types_of

Path = list[str | int]

_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_= \r\n\t"
"""Both alphabets of RFC 4648, and the white space that mail programs put between."""


def of_input(fields: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield what is wrong with `input`; the SDK's types tell the rest."""
    value = fields.get("input")
    if value is None:
        extra = fields.get("extra_body")
        if not (isinstance(extra, Mapping) and extra.get("continuation_token")):
            yield Fault("/input", "is required")
    elif value in ("", []):
        yield Fault("/input", "must not be empty")
    elif isinstance(value, list):
        yield from _items(value)
    elif isinstance(value, Mapping):
        yield from _content(value, ["input"], types_of("Content"))
    elif not isinstance(value, str):
        yield Fault("/input", "must be a string or a list of contents or steps")


def of_unknown(item: Any, path: Path) -> Fault:
    """Return the fault of something that is of no known type."""
    if not isinstance(item, Mapping):
        return Fault(pointer_to(path), "must be an object with a type")
    if "type" not in item:
        return Fault(pointer_to([*path, "type"]), "is required")
    return Fault(pointer_to([*path, "type"]), "is not a type that the API knows here")


def _items(items: list[Any]) -> Iterator[Fault]:
    contents, steps = types_of("Content"), types_of("Step")
    kinds = {type_of(item) for item in items}
    if kinds & contents and kinds & steps:
        yield Fault("/input", "must hold either contents or steps, not both")
        return
    for index, item in enumerate(items):
        path: Path = ["input", index]
        kind = type_of(item)
        if kind in contents:
            yield from _content(item, path, contents)
        elif kind not in steps:
            yield of_unknown(item, path)
        elif kind in ("user_input", "model_output"):
            yield from _contents(item.get("content"), [*path, "content"], contents)
        elif kind == "function_result":
            yield from _contents(item.get("result"), [*path, "result"], contents | {"function"})


def _contents(value: Any, path: Path, known: frozenset[str]) -> Iterator[Fault]:
    for index, item in enumerate(value if isinstance(value, list) else ()):
        yield from _content(item, [*path, index], known)


def _content(item: Any, path: Path, known: frozenset[str]) -> Iterator[Fault]:
    kind = type_of(item)
    if kind not in known:
        yield of_unknown(item, path)
    elif kind in KINDS:
        yield from _medium(item, path)


def _medium(item: Mapping[str, Any], path: Path) -> Iterator[Fault]:
    data, uri = item.get("data"), item.get("uri")
    if data in (None, "") and uri in (None, ""):
        yield Fault(pointer_to(path), "needs data, in base64, or the uri of a file: see POST /v1/files")
    elif isinstance(data, str) and data:
        if data[:5].lower() == "data:":
            yield Fault(pointer_to([*path, "data"]), "must be base64 alone, without the 'data:…;base64,' before it")
        elif not _is_base64(data):
            yield Fault(pointer_to([*path, "data"]), "must be base64")
        if not item.get("mime_type"):
            yield Fault(pointer_to([*path, "mime_type"]), "is required beside data")


def _is_base64(text: str) -> bool:
    """Whether nothing else is in it; cheap, for it may be twenty megabytes."""
    if not text.isascii():
        return False
    strange = text.encode().translate(None, _BASE64)
    bare = text if text.isalnum() else "".join(text.split())
    return not strange and len(bare.rstrip("=")) % 4 != 1
