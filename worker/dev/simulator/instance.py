"""Makes a JSON value that satisfies a JSON Schema, for structured output and for arguments of function calls.

Covers what such schemas use: types, enum, const, bounds, formats, nesting, `$ref`, anyOf, oneOf, allOf; not patterns.
"""

from collections.abc import Callable
from typing import Any

from worker.dev.simulator.dice import Dice

Schema = dict[str, Any]

_DEPTH = 8
_FORMATS = {
    "date": "2026-11-21",
    "time": "09:30:00Z",
    "date-time": "2026-11-21T09:30:00Z",
    "email": "someone@example.org",
    "uri": "https://example.org/",
    "uuid": "3f2c1b9a-7d54-4e0f-9a61-0c8d2b7e5f10",
    "ipv4": "192.0.2.1",
    "hostname": "example.org",
    "duration": "PT5M",
}


class Maker:
    """Makes values for one root schema; strings are taken from the given words."""

    def __init__(self, schema: Schema, words: list[str], dice: Dice) -> None:
        self._root = schema
        self._words = words or ["something"]
        self._dice = dice
        self._used = 0

    def make(self) -> Any:
        """Return a value for the root schema."""
        return self._value(self._root, 0)

    def _value(self, schema: Any, depth: int) -> Any:
        if not isinstance(schema, dict):
            return None
        schema = self._resolved(schema, depth)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._dice.pick(schema["enum"])
        makers: dict[str, Callable[[], Any]] = {
            "object": lambda: self._object(schema, depth),
            "array": lambda: self._array(schema, depth),
            "number": lambda: _number(schema),
            "integer": lambda: self._integer(schema),
            "boolean": lambda: self._dice.bits() % 2 == 0,
            "null": lambda: None,
        }
        return makers.get(_type_of(schema, depth), lambda: self._string(schema))()

    def _resolved(self, schema: Schema, depth: int) -> Schema:
        for _ in range(_DEPTH * 4):
            if "$ref" in schema:
                rest = {key: value for key, value in schema.items() if key != "$ref"}
                schema = {**self._target(schema["$ref"]), **rest}
            elif schema.get("allOf"):
                schema = _merged(schema, [self._resolved(part, depth) for part in schema["allOf"]])
            elif branches := schema.get("anyOf") or schema.get("oneOf"):
                chosen = next((b for b in branches if depth < _DEPTH or b.get("type") == "null"), branches[0])
                if depth >= _DEPTH:
                    chosen = next((b for b in branches if "$ref" not in b), chosen)
                rest = {key: value for key, value in schema.items() if key not in ("anyOf", "oneOf")}
                schema = _merged(rest, [chosen])
            else:
                break
        return schema

    def _target(self, reference: str) -> Schema:
        node: Any = self._root
        for part in reference.removeprefix("#").strip("/").split("/"):
            if part:
                node = node.get(part.replace("~1", "/").replace("~0", "~"), {}) if isinstance(node, dict) else {}
        return node if isinstance(node, dict) else {}

    def _object(self, schema: Schema, depth: int) -> dict[str, Any]:
        required = set(schema.get("required", ()))
        properties = schema.get("properties", {})
        wanted = [name for name in properties if name in required or depth < _DEPTH // 2]
        made = {name: self._value(properties[name], depth + 1) for name in wanted}
        return made | {name: self._value({"type": "string"}, depth) for name in required - set(properties)}

    def _array(self, schema: Schema, depth: int) -> list[Any]:
        prefix = [self._value(item, depth + 1) for item in schema.get("prefixItems", [])]
        least = int(schema.get("minItems", 0 if depth >= _DEPTH // 2 else 2))
        count = max(least, len(prefix))
        if "maxItems" in schema:
            count = min(count, int(schema["maxItems"]))
        items = schema.get("items", {"type": "string"})
        rest = [self._value(items, depth + 1) for _ in range(count - len(prefix))]
        return prefix[:count] + rest

    def _string(self, schema: Schema) -> str:
        if schema.get("format") in _FORMATS:
            return _FORMATS[schema["format"]]
        text = self._words[self._used % len(self._words)]
        self._used += 1
        least, most = int(schema.get("minLength", 0)), schema.get("maxLength")
        while len(text) < least:
            text += " " + text
        return text if most is None else text[: int(most)]

    def _integer(self, schema: Schema) -> int:
        low, high = _bounds(schema, 1)
        step = int(schema.get("multipleOf", 1))
        first = int(-(-low // step)) * step
        return first + step * self._dice.between(0, max(0, int((high - first) // step)))


def _number(schema: Schema) -> float:
    low, high = _bounds(schema, 0.5)
    step = schema.get("multipleOf")
    if step:
        return float(-(-low // step) * step)
    return round(low + (high - low) * 0.5, 2) if high - low > 0.02 else low


def _type_of(schema: Schema, depth: int) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = "null" if depth >= _DEPTH and "null" in kind else next((k for k in kind if k != "null"), "null")
    if kind is None:
        kind = "object" if "properties" in schema else "array" if "items" in schema else "string"
    return str(kind).lower()


def _merged(schema: Schema, parts: list[Schema]) -> Schema:
    merged = {key: value for key, value in schema.items() if key != "allOf"}
    for part in parts:
        properties = {**merged.get("properties", {}), **part.get("properties", {})}
        required = [*merged.get("required", []), *part.get("required", [])]
        merged |= part
        if properties:
            merged["properties"] = properties
        if required:
            merged["required"] = required
    return merged


def _bounds(schema: Schema, gap: float) -> tuple[float, float]:
    low = schema.get("minimum", schema["exclusiveMinimum"] + gap if "exclusiveMinimum" in schema else None)
    high = schema.get("maximum", schema["exclusiveMaximum"] - gap if "exclusiveMaximum" in schema else None)
    if low is None:
        low = 1 if high is None else min(1, high)
    return low, max(low, low + 40 if high is None else high)
