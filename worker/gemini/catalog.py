"""The models and agents known by name: what each can do, how long it may take, what replaces a retired one.

Shipped as `catalog.json`, which an operator may extend or override. An id that nobody knows passes through: new models
and a customer's own agents need no release. Must not talk to the API.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from worker.errors import Fault, Invalid, SettingsError
from worker.gemini import tables
from worker.gemini.tables import Cost, Document, Family, Kind, Limits, Line, Pace, Retired, Words

__all__ = ["Catalog", "Entry", "Kind", "Resolved", "load_catalog"]

KINDS: tuple[Kind, ...] = ("model", "agent")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What is known of one model or agent."""

    kind: Kind
    id: str
    family: str
    about: str
    abilities: Words
    inputs: Words
    outputs: Words
    tools: Words
    typical_s: int | None
    limits: Limits | None
    cost: Cost | None
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
        while (rule := self.retirement(kind, name)) is not None and rule.to and rule.to not in seen:
            steps.append({"from": name, "to": rule.to, "reason": rule.reason})
            name = rule.to
            seen.add(name)
        if strict and steps:
            why = steps[0]["reason"] or f"{steps[0]['from']} is retired"
            raise Invalid(Fault(f"/{kind}", f"{why}; use {name}, or leave out strict_model"))
        return Resolved(name, tuple(steps))

    def entry(self, kind: Kind, name: str) -> Entry:
        """Return what is known of an id, the defaults of its kind if nothing is."""
        return self.known.get((kind, name)) or _entry(Line(kind=kind, id=name, family="unknown"), Family(), self.paces)

    def entries(self) -> list[dict[str, Any]]:
        """Return everything known, ready for JSON: ids in use, then retired patterns with replacement and reason."""
        in_use = [asdict(entry) | {"deprecated": False} for entry in self.known.values()]
        gone = [
            {
                "kind": rule.kind,
                "id": rule.pattern,
                "deprecated": True,
                "replacement": self.resolve(rule.kind, rule.to).id,
                "reason": rule.reason,
            }
            for rule in self.retired
            if rule.to
        ]
        return in_use + gone

    def retirement(self, kind: Kind, name: str) -> Retired | None:
        """Return the rule that says what becomes of an id, if there is one."""
        return next((rule for rule in self.retired if rule.kind == kind and fnmatchcase(name, rule.pattern)), None)

    def replacement(self, name: str) -> str | None:
        """Return what replaces an id, of whichever kind; None where nothing does."""
        for kind in KINDS:
            rule = self.retirement(kind, name)
            if rule is not None and rule.to and (found := self.resolve(kind, rule.to).id) != name:
                return found
        return None

    def knows(self, name: str) -> bool:
        """Whether an id, of whichever kind, is in use."""
        return any((kind, name) in self.known for kind in KINDS)

    def near(self, name: str) -> str | None:
        """Return the known id that is most like this one, if any is."""
        return next(iter(get_close_matches(name, [known for _, known in self.known], n=1, cutoff=0.75)), None)

    def doubts(self) -> Iterator[str]:
        """Yield what an override says in vain: ids that it adds and that are retired, replacements that are."""
        for kind, name in self.known:
            if (used := self.resolve(kind, name).id) != name:
                yield f"{kind} {name} is in the catalog, and retired: jobs for it run as {used}"
        for rule in self.retired:
            if rule.to and (used := self.resolve(rule.kind, rule.to).id) != rule.to:
                yield f"{rule.kind} {rule.to} replaces {rule.pattern}, and is retired itself: jobs run as {used}"


def load_catalog(override: Any = None) -> Catalog:
    """Return the shipped catalog, extended by an operator's override of the same shape; raises SettingsError.

    An override's entries replace those of the same kind and id; its `retired` rules are tried before the shipped ones.
    """
    shipped, extra = tables.shipped(), tables.read({} if override is None else override)
    paces = {**(shipped.defaults or {}), **(extra.defaults or {})}
    families = {**(shipped.families or {}), **(extra.families or {})}
    lines = {(line.kind, line.id): line for line in (*shipped.entries, *extra.entries)}
    known = {key: _entry(line, families.get(line.family, Family()), paces) for key, line in lines.items()}
    catalog = Catalog(known=known, retired=extra.retired + shipped.retired, paces=paces)
    _check(catalog, extra)
    return catalog


def _check(catalog: Catalog, extra: Document) -> None:
    """Refuse replacements that no job could be sent to, and those that an operator can name without a detour."""
    for number, rule in enumerate(extra.retired):
        place = f"the catalog override is not valid: retired/{number}/to"
        if rule.to is None:
            continue
        other: Kind = "agent" if rule.kind == "model" else "model"
        if (other, rule.to) in catalog.known and (rule.kind, rule.to) not in catalog.known:
            raise SettingsError(f"{place}: {rule.to} is no {rule.kind}")
        trail = _trail(catalog, rule.kind, rule.to)
        if trail[-1] in trail[:-1]:
            raise SettingsError(f"{place}: goes round in a circle: {' → '.join(trail)}")
        if len(trail) > 1 and catalog.retirement(rule.kind, rule.to) in extra.retired:
            raise SettingsError(f"{place}: {rule.to} is retired by this file, too: name {trail[-1]}")


def _trail(catalog: Catalog, kind: Kind, name: str) -> list[str]:
    """Return the replacements that follow each other from this id on, up to the first that comes twice."""
    trail = [name]
    while (rule := catalog.retirement(kind, trail[-1])) and rule.to and rule.to != trail[-1]:
        trail.append(rule.to)
        if rule.to in trail[:-1]:
            break
    return trail


def _entry(line: Line, family: Family, paces: Mapping[Kind, Pace]) -> Entry:
    pace = paces[line.kind]
    return Entry(
        kind=line.kind,
        id=line.id,
        family=line.family,
        about=line.about,
        abilities=family.abilities if line.abilities is None else line.abilities,
        inputs=family.inputs if line.inputs is None else line.inputs,
        outputs=family.outputs if line.outputs is None else line.outputs,
        tools=family.tools if line.tools is None else line.tools,
        typical_s=line.typical_s,
        limits=line.limits,
        cost=line.cost,
        timeout_s=line.timeout_s or pace.timeout_s,
        poll=line.poll or pace.poll,
        stalled_after_s=line.stalled_after_s or pace.stalled_after_s,
    )
