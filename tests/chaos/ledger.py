"""What every endpoint was at every moment, by its operator's account: an act that was not answered lies between two.

Only whether such an act happened at all is asked of the audit log.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from itertools import zip_longest
from math import inf
from typing import Any

from tests.chaos import acts
from tests.chaos.acts import Act, Sight
from worker.models import AuditEntry, DeliveryAttempt, WebhookEndpoint

LOST_S = 20.0
"""How long after it was asked an act may still happen whose answer never came."""

OLD_MOST = 4
"""Replaced secrets that sign along: each would for a day, and no run is longer."""

LAG_S = 15.0
"""How long a transaction may take from reading the clock to reading who listens: whoever runs it may stand still."""


@dataclass(frozen=True, slots=True)
class Spell:
    """How an endpoint was from some moment between `earliest` and `surely` on, until the next spell."""

    earliest: float
    surely: float
    is_there: bool = False
    url: str = ""
    events: Collection[str] | None = ()
    secrets: tuple[str | None, ...] = ()
    """Those that sign, the newest first; None: one that nobody was told."""

    def wants(self, kind: str) -> bool:
        """Whether an event of this kind is for it."""
        return self.is_there and (self.events is None or kind in self.events)


NOWHERE = Spell(-inf, -inf)


@dataclass(frozen=True)
class Account:
    """One endpoint as its operator knows it."""

    id: str
    tenant: str
    acts: Sequence[Act]
    """Those that happened, in the order in which they were asked for."""
    asked: Sequence[Act]
    """All of them."""
    sights: Sequence[Sight]
    """How it was seen disabled, one for each time."""

    @cached_property
    def spells(self) -> list[Spell]:
        """From before it was there on."""
        spells = [NOWHERE]
        for act in self.acts:
            values = _values(act, spells[-1])
            if values:
                spells.append(replace(spells[-1], earliest=act.asked_at, surely=surely(act), **values))
        return spells

    @property
    def last(self) -> Spell:
        """How it is now."""
        return self.spells[-1]

    @property
    def name(self) -> str:
        """What its operator calls it."""
        return str(next((act.told["description"] for act in self.acts if act.action == acts.CREATED), ""))

    def during(self, begin: float, end: float) -> list[Spell]:
        """Every way it may have been at some moment between these two."""
        pairs = zip_longest(self.spells, self.spells[1:])
        return [one for one, later in pairs if one.earliest <= end and (later is None or later.surely >= begin)]

    def disabled(self) -> Iterator[tuple[Sight, float, float]]:
        """Each time that it was seen disabled: since when, and from when on it was perhaps enabled again."""
        enabling = [act.asked_at for act in self.acts if act.told.get("enabled") is True]
        for sight in self.sights:
            since = seconds(sight.disabled_at)
            yield sight, since, min((at for at in enabling if at >= since), default=inf)


@dataclass(frozen=True, slots=True)
class Arrival:
    """What came to an endpoint's URL."""

    at: float
    tenant: str
    manner: str
    place: str
    mark: str | None
    webhook_id: str
    timestamp: int
    signature: str
    body: str
    digest: str

    @property
    def path(self) -> str:
        """Where it came to."""
        return f"/{self.tenant}/{self.manner}/{self.place}"


@dataclass(frozen=True, kw_only=True)
class Registered:
    """Everybody's account of registered endpoints."""

    projects: Mapping[str, str] = field(default_factory=dict)
    """Their ids, by name."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """The ids of the operators' keys, by their project's name."""
    acts: Sequence[Act] = ()
    sights: Collection[Sight] = ()
    audit: Sequence[AuditEntry] = ()
    rows: Mapping[str, WebhookEndpoint] = field(default_factory=dict)
    attempts: Mapping[str, list[DeliveryAttempt]] = field(default_factory=dict)
    """By delivery."""
    arrivals: Sequence[Arrival] = ()
    talk_s: float = 0.0
    """How long after its claim a delivery may still come."""

    @cached_property
    def noted(self) -> Mapping[str, list[AuditEntry]]:
        """The audit log by request."""
        found: defaultdict[str, list[AuditEntry]] = defaultdict(list)
        for entry in self.audit:
            found[entry.request_id or ""].append(entry)
        return found

    @cached_property
    def accounts(self) -> Mapping[str, Account]:
        """Every endpoint that there was, by its id."""
        asked, happened = defaultdict[str, list[Act]](list), defaultdict[str, list[Act]](list)
        for act in self.acts:
            entries = self.noted.get(act.request_id, [])
            subject = act.subject or next((entry.subject for entry in entries), None)
            if subject is None or act.action in {acts.REFUSED, acts.REDELIVERED}:
                continue
            asked[subject].append(act)
            if act.is_done or (act.is_open and entries):
                happened[subject].append(act)
        seen = defaultdict[str, list[Sight]](list)
        for sight in sorted(self.sights, key=lambda one: one.disabled_at):
            seen[sight.endpoint_id].append(sight)
        return {name: Account(name, one[0].tenant, happened[name], one, seen[name]) for name, one in asked.items()}

    @cached_property
    def by_path(self) -> Mapping[str, Account]:
        """Whose every path is."""
        return {_path(spell.url): one for one in self.accounts.values() for spell in one.spells if spell.url}

    @cached_property
    def secrets(self) -> Collection[str]:
        """Every secret that anybody was ever told."""
        told = {secret for one in self.accounts.values() for spell in one.spells for secret in spell.secrets}
        return {secret for secret in told if secret}


def surely(act: Act) -> float:
    """From when on it has certainly happened, if it has."""
    return act.answered_at if act.is_done else act.asked_at + LOST_S


def seconds(moment: str | datetime) -> float:
    """A moment as the rest of the suite counts."""
    return (datetime.fromisoformat(moment) if isinstance(moment, str) else moment).timestamp()


def _values(act: Act, before: Spell) -> Mapping[str, Any]:
    """What an act makes of a spell; nothing where it is another's business."""
    if act.action == acts.CREATED:
        told = {"url": act.told["url"], "events": act.told.get("events")}
        return {"is_there": True, "secrets": (act.answer.get("secret"),), **told}
    if act.action == acts.CHANGED:
        return {name: act.told[name] for name in ("url", "events") if name in act.told}
    if act.action == acts.ROTATED:
        return {"secrets": (act.answer.get("secret"), *before.secrets[:OLD_MOST])}
    return {"is_there": False} if act.action == acts.DELETED else {}


def _path(url: str) -> str:
    return "/" + url.split("/", 3)[3]
