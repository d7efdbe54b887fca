"""The SDK's own request types, asked what they refuse and which `type` values they know.

Importing them takes a second or two, so it happens on first use. Knows no rule of its own: those stand in `rules`.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from typing import Any, Literal, get_args

from pydantic import BaseModel, ValidationError

from worker.errors import Fault, pointer_to

_NOUNS = {
    "string": "a string",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "dict": "an object",
    "model": "an object",
}
"""What a pydantic error type, up to its first underscore, says the value must be."""


MAX_ERRORS = 200
"""How many of pydantic's complaints are looked at; a union has several for each fault."""


@cache
def types_of(union: Literal["Tool", "Content", "Step"]) -> frozenset[str]:
    """Return the values of `type` that the SDK knows for tools, contents or steps."""
    from google.genai import interactions  # noqa: PLC0415 - slow to import, see above

    members, *_ = get_args(getattr(interactions, union))
    return frozenset(member.model_fields["type"].default for member in get_args(members)) - {"UNKNOWN"}


@cache
def bodies() -> tuple[type[BaseModel], type[BaseModel]]:
    """Return the SDK's bodies of a create, for a model and for an agent."""
    from google.genai.interactions import CreateAgentInteraction, CreateModelInteraction  # noqa: PLC0415 - slow

    return CreateModelInteraction, CreateAgentInteraction


def faults_of(fields: Mapping[str, Any]) -> list[Fault]:
    """Return what the SDK's types refuse in a create body, one fault for each place, without echoing values."""
    for_model, for_agent = bodies()
    body, target = (for_agent, "agent") if "agent" in fields else (for_model, "model")
    with suppress(ValidationError, TypeError):
        body.model_validate({target: "any", **fields})
        return []
    # Each by itself, so that one fault hides no other.
    faults: list[Fault] = []
    for name, value in fields.items():
        try:
            body.model_validate({target: "any", name: value})
        except ValidationError as error:
            faults += _faults(error, {name: value})
        except TypeError:  # its open unions look the `type` up without asking whether it can be hashed
            faults.append(Fault(pointer_to([name]), "is not valid"))
    return faults


def _faults(error: ValidationError, fields: Mapping[str, Any]) -> list[Fault]:
    """Return a fault for each place, but for those whose parts have one: a union complains at every level."""
    places: dict[str, list[str]] = {}
    for fault in error.errors(include_url=False, include_input=False)[:MAX_ERRORS]:
        pointer = _pointer(fault["loc"], fields, is_missing=fault["type"] == "missing")
        places.setdefault(pointer, []).append(_must_be(fault["type"], fault.get("ctx", {})))
    return [
        Fault(pointer, _sentence(words))
        for pointer, words in places.items()
        if not any(other.startswith(pointer + "/") for other in places)
    ]


def type_of(item: Any) -> str | None:
    """Return the `type` of a tool, content or step, None for anything that has none."""
    kind = item.get("type") if isinstance(item, Mapping) else None
    return kind if isinstance(kind, str) else None


def plain(name: str) -> str:
    """Return a field's name with underscores where it is in camel case: the API may take the one for the other."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name[:80]).lower()


def _pointer(place: tuple[str | int, ...], value: Any, *, is_missing: bool) -> str:
    """Follow pydantic's location into the value; names of union members, which are in it too, lead nowhere."""
    parts: list[str | int] = []
    for part in place:
        is_key = isinstance(value, Mapping) and part in value
        is_index = isinstance(value, list) and isinstance(part, int) and part < len(value)
        if is_key or is_index:
            parts.append(part)
            value = value[part]
    return pointer_to([*parts, place[-1]] if is_missing else parts)


def _must_be(kind: str, context: Mapping[str, Any]) -> str:
    if kind == "missing":
        return "is required"
    if kind == "union_tag_not_found":
        return "needs a type"
    if kind == "union_tag_invalid":
        return f"an object of type {context.get('expected_tags', '')}"
    if kind == "literal_error":
        return str(context.get("expected", ""))
    return _NOUNS.get(kind.partition("_")[0], "")


def _sentence(words: list[str]) -> str:
    for verb in ("is required", "needs a type"):
        if verb in words:
            return verb
    nouns = list(dict.fromkeys(word for word in words if word))
    is_enum = any(noun.startswith("'") for noun in nouns)
    nouns = [noun for noun in nouns if not (is_enum and noun == "a string")]
    return f"must be {' or '.join(nouns)}" if nouns else "is not valid"
