"""Requests and answers of the Interactions API as hypothesis makes them: from the SDK's own types, and then spoiled.

The types are walked, not listed, so that a newer SDK's fields are thrown at us as soon as it is installed.
"""

import os
import types
from base64 import b64encode
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from pydantic import BaseModel

Json = dict[str, Any]
Values = st.SearchStrategy[Any]

DEPTH = 5
"""How deep the SDK's types are followed: further down, what is optional is left out."""

ODD = [
    "",
    " ",
    "\0",
    "a\0b",
    "\u2028",
    "\x7f",
    "😀 é\u0301 日本",
    "\ufffe",
    "' \" \\ / < > &",
    "-1",
    "null",
    "__proto__",
]
LONG = "x" * 3000
TEXTS = st.sampled_from([*ODD, LONG, "completed", "text", "user_input", "https://a.example/x", "gemini-3.8-flash"])
WHOLE = st.integers(-3, 3) | st.sampled_from([2**31, -(2**63), 2**63 - 1, 2**63, 2**64 - 1])
NUMBERS = WHOLE | st.floats(allow_nan=False, allow_infinity=False)
LEAVES = st.none() | st.booleans() | NUMBERS | TEXTS
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS | st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["a", "type", "b c"])
BYTES = st.sampled_from([b"", b"x", bytes(range(256)), b"\x89PNG" * 50]).map(lambda data: b64encode(data).decode())


FUZZ = int(os.environ.get("FUZZ", "1"))
"""How many times as much is thrown, and if so, not the same each time: `make fuzz`."""


def load_profile() -> None:
    """The same examples in every run, however long they take: the change decides what lands, not luck."""
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    settings.register_profile(
        "nightdesk", derandomize=FUZZ == 1, deadline=None, database=None, suppress_health_check=checks
    )
    settings.load_profile("nightdesk")


def examples(number: int) -> settings:
    """So many examples in place of a hundred."""
    return settings(max_examples=number * FUZZ)


@cache
def of(kind: Any, depth: int = DEPTH) -> Values:
    """Values that this type of the SDK takes, as JSON."""
    while hasattr(kind, "__value__") or hasattr(kind, "__metadata__"):
        kind = kind.__value__ if hasattr(kind, "__value__") else get_args(kind)[0]
    makers: dict[Any, Callable[[Any, int], Values]] = {
        Literal: lambda args, _: st.sampled_from(args),
        Union: _one_of,
        types.UnionType: _one_of,
        list: lambda args, left: st.lists(of(args[0], left - 1), max_size=2 if left > 0 else 0),
        dict: lambda args, left: st.dictionaries(KEYS, of(args[1], left - 1), max_size=2),
    }
    origin = get_origin(kind)
    if origin in makers:
        return makers[origin](get_args(kind), depth)
    return record(kind, depth) if isinstance(kind, type) and issubclass(kind, BaseModel) else _plain(kind)


def _one_of(kinds: tuple[Any, ...], depth: int) -> Values:
    known = [one for one in kinds if not getattr(one, "__name__", "").startswith("Unknown")]
    if depth <= 0:
        known = [one for one in known if not _is_deep(one)] or known[:1]
    return st.one_of([of(one, depth) for one in known])


def record(kind: type[BaseModel], depth: int = DEPTH, always: tuple[str, ...] = ()) -> Values:
    """Objects of this type; what is optional is now and then there, `always` if so named."""
    needed: dict[str, Values] = {}
    optional: dict[str, Values] = {}
    for name, field in kind.model_fields.items():
        place = field.alias or name
        values = st.deferred(lambda field=field: of(field.annotation, depth - 1))  # type: ignore[misc]
        # A `type` has a default, and tells what the rest is.
        if field.is_required() or place == "type" or place in always:
            needed[place] = values
        elif depth > 0:
            optional[place] = values
    if not optional:
        return st.fixed_dictionaries(needed)
    # A few at a time: all at once would bury what matters.
    chosen = st.lists(st.sampled_from(sorted(optional)), max_size=3, unique=True)
    return chosen.flatmap(lambda names: st.fixed_dictionaries(needed | {name: optional[name] for name in names}))


def _plain(kind: Any) -> Values:
    plain: dict[Any, Values] = {
        str: st.text(max_size=8) | TEXTS | BYTES,
        int: WHOLE,
        float: NUMBERS,
        bool: st.booleans(),
        type(None): st.none(),
    }
    if kind in plain:
        return plain[kind]
    return plain[str] if isinstance(kind, type) and issubclass(kind, str) else ANYTHING


def _is_deep(kind: Any) -> bool:
    return get_origin(kind) in (list, dict) or (isinstance(kind, type) and issubclass(kind, BaseModel))


@st.composite
def spoiled(draw: st.DrawFn, whole: Values, most: int = 2) -> Any:
    """A value of this kind, with up to so many of its parts replaced, taken away or joined by something unheard of."""
    root = {"root": draw(whole)}
    for _ in range(draw(st.integers(0, most))):
        places = list(places_in(root))
        node, key = draw(st.sampled_from(places))
        match draw(st.sampled_from(["replace", "add", "remove", "repeat"])):
            case "replace":
                node[key] = draw(ANYTHING)
            case "add" if isinstance(node[key], dict):
                node[key][draw(st.sampled_from(["unheard_of", *ODD]))] = draw(ANYTHING)
            case "remove" if node is not root:
                del node[key]
            case "repeat" if isinstance(node[key], list):
                node[key] += node[key]
    return root["root"]


def places_in(node: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a JSON value: the object or list, and the key or index."""
    for key, child in list(node.items()) if isinstance(node, dict) else enumerate(node):
        yield node, key
        if isinstance(child, (dict, list)):
            yield from places_in(child)
