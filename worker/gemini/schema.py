"""Holds a parsed output against the JSON schema that was asked for. Pure; fetches nothing and takes bounded work.

The words are those that the Gemini API takes: JSON Schema with OpenAPI's among them (types in upper case, `nullable`,
bounds as strings). Schema and output may both be hostile: patterns run on a linear engine, keywords are counted.
"""

from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache, lru_cache
from itertools import islice
from time import thread_time
from typing import Any

import orjson

from worker.errors import pointer_to

MAX_STEPS = 200_000
MAX_S = 2.0
"""What one check may take: keywords that are looked at, and seconds of work, not of waiting for a busy machine."""

PATTERN_MAX = 4096
AT_ONCE = 1000
"""Items that are looked at between two looks at the clock."""

SHOWN = 3
POINTER_MAX = 200

TYPES = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})
BOUNDS = frozenset(
    {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minItems", "maxItems", "minLength"}
    | {"maxLength", "minProperties", "maxProperties", "minContains", "maxContains"}
)
ONE = frozenset({"items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames"})
MANY = frozenset({"anyOf", "oneOf", "allOf", "prefixItems", "items"})
NAMED = frozenset({"properties", "$defs", "definitions", "dependentSchemas"})
"""Where a schema stands in a schema: by itself, in a list, under a name."""

LEFT_OUT = frozenset({"$schema", "$id", "id", "nullable", "patternProperties", "unevaluatedItems"}) | {
    "unevaluatedProperties",
    "$dynamicRef",
    "$recursiveRef",
}
"""What names another dialect or place, and what the API does not know and would run patterns of its own."""


class UncheckableError(Exception):
    """The schema cannot be used, or the check would take too long."""


@dataclass(slots=True)
class _Budget:
    """What is left of one check's bounds."""

    steps: int = MAX_STEPS
    until: float = field(default_factory=lambda: thread_time() + MAX_S)

    def spend(self, steps: int) -> None:
        self.steps -= steps
        if self.steps < 0 or thread_time() > self.until:
            raise UncheckableError("it takes too long")


_BUDGET: ContextVar[_Budget] = ContextVar("budget")

Keyword = Callable[[Any, Any, Any, Any], Iterator[Any] | None]


def mismatches(schema: Mapping[str, Any], value: Any) -> list[str]:
    """Return where the value does not fit, each as pointer and keyword without any value; up to SHOWN of them.

    Raises UncheckableError where that cannot be told.
    """
    _BUDGET.set(_Budget())
    try:
        found = list(islice(_validator(_plain(schema)).iter_errors(value), SHOWN))
        return list(dict.fromkeys(f"{_place(error.absolute_path)}: {error.validator}" for error in found))
    except UncheckableError:
        raise
    except RecursionError:
        raise UncheckableError("it is nested too deep") from None
    except Exception as error:  # noqa: BLE001 - told: a schema may be wrong in ways that nobody foresees
        raise UncheckableError(f"the schema cannot be used ({type(error).__name__})") from None


def _place(path: Any) -> str:
    pointer = pointer_to(path)
    return f"{pointer[:POINTER_MAX]}…" if len(pointer) > POINTER_MAX else pointer or "the root"


def _plain(schema: Any) -> Any:
    """Return a schema, and those in it, in the words of JSON Schema."""
    if not isinstance(schema, Mapping):
        # The library would write the whole value into its complaint, uncounted.
        return {"not": {}} if schema is False else schema
    plain: dict[str, Any] = {}
    for name, part in schema.items():
        if name in LEFT_OUT:
            continue
        if name in NAMED and isinstance(part, Mapping):
            plain[name] = {key: _plain(inner) for key, inner in part.items()}
        elif name in MANY and isinstance(part, list):
            plain[name] = [_plain(inner) for inner in part]
        elif name in ONE:
            plain[name] = _plain(part)
        else:
            plain[name] = _bound(part) if name in BOUNDS else part
    if isinstance(plain.get("items"), list):
        plain["prefixItems"] = plain.pop("items")
    if "patternProperties" in schema:
        plain.pop("additionalProperties", None)
    return _typed(plain, is_nullable=schema.get("nullable") is True)


def _bound(value: Any) -> Any:
    """OpenAPI's JSON writes 64-bit numbers as strings."""
    return float(value) if isinstance(value, str) else value


def _typed(plain: dict[str, Any], *, is_nullable: bool) -> dict[str, Any]:
    kinds = plain.pop("type", None)
    kinds = [
        kind.lower() if isinstance(kind, str) else kind for kind in (kinds if isinstance(kinds, list) else [kinds])
    ]
    if kinds and all(kind in TYPES for kind in kinds if isinstance(kind, str)) and None not in kinds:
        plain["type"] = [*kinds, "null"] if is_nullable else kinds
        if is_nullable and isinstance(plain.get("enum"), list):
            plain["enum"] = [*plain["enum"], None]
    elif is_nullable:
        named: dict[str, Any] = {name: plain.pop(name) for name in ("$defs", "definitions") if name in plain}
        return {"anyOf": [plain, {"type": "null"}], **named}
    return plain


def _validator(schema: Any) -> Any:
    from referencing import Registry  # noqa: PLC0415 - as slow to import as the rest of it

    # Given and empty: what is not in the schema itself is looked for nowhere, least of all on the network.
    return _class()(schema, registry=Registry())


@cache
def _class() -> Any:
    from jsonschema import Draft202012Validator, validators  # noqa: PLC0415 - slow, and for few results only

    ours: dict[str, Keyword] = {
        "pattern": _pattern,
        "uniqueItems": _unique_items,
        "anyOf": _any_of,
        "oneOf": _one_of,
    }
    known = {**Draft202012Validator.VALIDATORS, **ours}
    counted = {name: _counted(keyword) for name, keyword in known.items()}
    return validators.extend(Draft202012Validator, counted)  # type: ignore[no-untyped-call]


def _counted(keyword: Keyword) -> Keyword:
    def counted(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any] | None:
        _BUDGET.get().spend(1 + _size(value) // 8 + _size(instance) // 8)
        return keyword(validator, value, instance, schema)

    return counted


def _size(value: Any) -> int:
    return len(value) if isinstance(value, list | Mapping) else 0


def _error(message: str) -> Any:
    from jsonschema import ValidationError  # noqa: PLC0415 - imported by now

    return ValidationError(message)


def _pattern(validator: Any, pattern: Any, instance: Any, schema: Any) -> Iterator[Any]:
    del validator, schema
    if len(pattern) > PATTERN_MAX:
        raise UncheckableError("a pattern is too long")
    if isinstance(instance, str) and not _expression(pattern)(instance):
        yield _error("does not match")


@lru_cache(maxsize=64)
def _expression(pattern: str) -> Callable[[str], bool]:
    """Return a search for a pattern by an engine without backtracking; raises where it cannot be compiled."""
    from pydantic_core import SchemaValidator, core_schema  # noqa: PLC0415 - imported by now

    return SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex")).isinstance_python


def _unique_items(validator: Any, is_wanted: Any, instance: Any, schema: Any) -> Iterator[Any]:
    del validator, schema
    if is_wanted is True and isinstance(instance, list):
        seen = set[bytes]()
        for start in range(0, len(instance), AT_ONCE):
            _BUDGET.get().spend(0)
            seen.update(orjson.dumps(item, option=orjson.OPT_SORT_KEYS) for item in instance[start : start + AT_ONCE])
        if len(seen) < len(instance):
            yield _error("has an item twice")


def _any_of(validator: Any, schemas: Any, instance: Any, schema: Any) -> Iterator[Any]:
    del schema
    if not any(validator.evolve(schema=one).is_valid(instance) for one in schemas):
        yield _error("fits none")


def _one_of(validator: Any, schemas: Any, instance: Any, schema: Any) -> Iterator[Any]:
    del schema
    if sum(validator.evolve(schema=one).is_valid(instance) for one in schemas) != 1:
        yield _error("fits none or several")
