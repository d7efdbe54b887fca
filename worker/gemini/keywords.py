"""What a JSON schema cannot be, wherever one is given to the API: its keywords have the shapes that they must have.

Pure. Keywords that nobody here knows, and all limits of the API itself, are left to the API.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from worker.errors import Fault, pointer_to
from worker.gemini.schema import TYPES

Path = list[str | int]

MAX_SCHEMAS = 20_000
"""How many schemas of one are looked at."""
_MANY = ("anyOf", "oneOf", "allOf", "prefixItems", "items")
_NAMED = ("properties", "$defs", "definitions", "patternProperties")
_ONE = ("items", "additionalProperties", "not")


def of_schema(schema: Any, path: Path) -> Iterator[Fault]:
    """Yield what is wrong with a schema that stands at `path`."""
    left, seen = [(schema, path)], 0
    while left and seen < MAX_SCHEMAS:
        one, at = left.pop()
        seen += 1
        if isinstance(one, bool):
            continue
        if not isinstance(one, Mapping):
            yield Fault(pointer_to(at), "must be a JSON schema: an object")
            continue
        yield from _own(one, at, schema)
        left += [(part, [*at, *place]) for part, place in islice(_parts(one), MAX_SCHEMAS - seen - len(left))]


def _own(one: Mapping[str, Any], at: Path, root: Any) -> Iterator[Fault]:
    kinds = one.get("type", [])
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        if not (isinstance(kind, str) and kind.lower() in TYPES):
            yield Fault(pointer_to([*at, "type"]), f"must be one of {', '.join(sorted(TYPES))}")
            break
    required, values = one.get("required", []), one.get("enum", [None])
    if not (isinstance(required, list) and all(isinstance(name, str) for name in required)):
        yield Fault(pointer_to([*at, "required"]), "must be a list of names")
    if not _is_filled(values):
        yield Fault(pointer_to([*at, "enum"]), "must be a list of one or more values")
    for name in (name for name in _NAMED if not isinstance(one.get(name, {}), Mapping)):
        yield Fault(pointer_to([*at, name]), "must be an object of schemas")
    for name in (name for name in _MANY if name != "items" and not _is_filled(one.get(name, [{}]))):
        yield Fault(pointer_to([*at, name]), "must be a list of one or more schemas")
    if "$ref" in one and not _leads_somewhere(one["$ref"], root):
        yield Fault(pointer_to([*at, "$ref"]), "must name a place in this schema, such as #/$defs/item")


def _is_filled(value: Any) -> bool:
    return isinstance(value, list) and bool(value)


def _parts(one: Mapping[str, Any]) -> Iterator[tuple[Any, Path]]:
    for name in _NAMED:
        inner = one.get(name)
        for key, part in inner.items() if isinstance(inner, Mapping) else ():
            yield part, [name, key]
    for name in _MANY:
        several = one.get(name)
        for index, part in enumerate(several if isinstance(several, list) else ()):
            yield part, [name, index]
    for name in _ONE:
        if name in one and not isinstance(one[name], list):
            yield one[name], [name]


def _leads_somewhere(ref: Any, root: Any) -> bool:
    if not isinstance(ref, str) or not ref.startswith("#"):
        return False
    place = root
    for part in ref[1:].split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(place, Mapping) or name not in place:
            return False
        place = place[name]
    return True
