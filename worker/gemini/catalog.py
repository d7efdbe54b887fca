"""The models and agents known by name: what each can do, how long it may take, what replaces a retired one.

Shipped as `catalog.json`, which an operator may extend or override. An id that nobody knows passes through: new models
and a customer's own agents need no release. Must not talk to the API.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import orjson
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked

from worker.errors import Fault, Invalid, SettingsError

Kind = Literal["model", "agent"]
_STRICT = ConfigDict(extra="forbid")


@checked(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Pace:
    """How a kind of run is waited for: its default timeout, its class of poll schedule, when it counts as stalled."""

    timeout_s: int
    poll: Kind
    stalled_after_s: int


@checked(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Line:
    """One id as `catalog.json` writes it; what it leaves out comes from the defaults of its kind."""

    kind: Kind
    id: str
    family: str
    abilities: tuple[str, ...] = ()
    timeout_s: int | None = None
    poll: Kind | None = None
    stalled_after_s: int | None = None


@checked(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Retired:
    """Ids that are not to be used any more (a shell pattern) and what replaces them; `to` null keeps them in use."""

    kind: Kind
    pattern: str
    to: str | None
    reason: str = ""


@checked(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Document:
    """The shape of `catalog.json` and of an operator's override, which may leave out any part."""

    defaults: Mapping[Kind, Pace] | None = None
    entries: tuple[Line, ...] = ()
    retired: tuple[Retired, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What is known of one model or agent."""

    kind: Kind
    id: str
    family: str
    abilities: tuple[str, ...]
    timeout_s: int
    poll: Kind
    stalled_after_s: int


@dataclass(frozen=True, slots=True)
class Resolved:
    """The id to send, and the substitutions that led to it, each with `from`, `to` and `reason`."""

    id: str
    substitutions: tuple[dict[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Catalog:
    """The ids known to one process; built once by `load_catalog`."""

    known: Mapping[tuple[Kind, str], Entry]
    retired: tuple[Retired, ...]
    paces: Mapping[Kind, Pace]

    def resolve(self, kind: Kind, name: str, *, strict: bool = False) -> Resolved:
        """Return the id to send for the one asked for; Invalid if it is of the other kind, or retired and `strict`."""
        other: Kind = "agent" if kind == "model" else "model"
        if (other, name) in self.known and (kind, name) not in self.known:
            raise Invalid(Fault(f"/{kind}", f"this id belongs to the {other}s: send it as '{other}'"))
        steps: list[dict[str, str]] = []
        seen = {name}
        while (rule := self._retirement(kind, name)) is not None and rule.to and rule.to not in seen:
            if strict:
                raise Invalid(Fault(f"/{kind}", f"{rule.reason}; use {rule.to}, or leave out strict_model"))
            steps.append({"from": name, "to": rule.to, "reason": rule.reason})
            name = rule.to
            seen.add(name)
        return Resolved(name, tuple(steps))

    def entry(self, kind: Kind, name: str) -> Entry:
        """Return what is known of an id, the defaults of its kind if nothing is."""
        return self.known.get((kind, name)) or _entry(Line(kind=kind, id=name, family="unknown"), self.paces)

    def entries(self) -> list[dict[str, Any]]:
        """Return everything known, ready for JSON: ids in use, then retired patterns with replacement and reason."""
        in_use = [asdict(entry) | {"deprecated": False} for entry in self.known.values()]
        gone = [
            {"kind": rule.kind, "id": rule.pattern, "deprecated": True, "replacement": rule.to, "reason": rule.reason}
            for rule in self.retired
            if rule.to
        ]
        return in_use + gone

    def _retirement(self, kind: Kind, name: str) -> Retired | None:
        return next((rule for rule in self.retired if rule.kind == kind and fnmatchcase(name, rule.pattern)), None)


def load_catalog(override: Mapping[str, Any] | None = None) -> Catalog:
    """Return the shipped catalog, extended by an operator's override of the same shape; raises SettingsError.

    An override's entries replace those of the same kind and id; its `retired` rules are tried before the shipped ones.
    """
    shipped, extra = _shipped(), _document(override or {})
    paces = {**(shipped.defaults or {}), **(extra.defaults or {})}
    lines = {(line.kind, line.id): line for line in (*shipped.entries, *extra.entries)}
    known = {key: _entry(line, paces) for key, line in lines.items()}
    return Catalog(known=known, retired=extra.retired + shipped.retired, paces=paces)


@cache
def _adapter() -> TypeAdapter[Document]:
    return TypeAdapter(Document)


@cache
def _shipped() -> Document:
    text = files(__package__).joinpath("catalog.json").read_bytes()
    return _adapter().validate_python(orjson.loads(text))


def _document(value: Mapping[str, Any]) -> Document:
    try:
        return _adapter().validate_python(value)
    except ValidationError as error:
        places = sorted({"/".join(map(str, fault["loc"])) or "(the whole)" for fault in error.errors()})
        raise SettingsError(f"The catalog override is not valid at: {', '.join(places)}") from None


def _entry(line: Line, paces: Mapping[Kind, Pace]) -> Entry:
    pace = paces[line.kind]
    return Entry(
        kind=line.kind,
        id=line.id,
        family=line.family,
        abilities=line.abilities,
        timeout_s=line.timeout_s or pace.timeout_s,
        poll=line.poll or pace.poll,
        stalled_after_s=line.stalled_after_s or pace.stalled_after_s,
    )
