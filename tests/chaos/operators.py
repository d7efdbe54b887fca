"""Operators: one for each project, who makes, changes, tries and deletes its endpoints as a seed has it.

Whoever was not answered looks at the list before going on; whoever finds an endpoint disabled enables it again.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from random import Random
from time import time
from typing import Any

import httpx2

from tests.chaos import acts, receiver
from tests.chaos.acts import Act, Life, Place, Sight
from tests.chaos.tenants import Tenant
from worker.flow.health import OWNER
from worker.states import CREATED, ENDPOINT_DISABLED, EVENT_TYPES, EVENTS, Status

TIMEOUT_S = 15.0
LOOK_S = 1.0
MOST, FEWEST = 7, 3
"""How many endpoints a project has at once, while they come and go."""

PATH = "/v1/webhooks"
ENDED = EVENTS[Status.COMPLETED]
FILTERS: tuple[Sequence[str] | None, ...] = (
    None,
    (ENDED,),
    (CREATED, EVENTS[Status.IN_PROGRESS]),
    (ENDED, ENDPOINT_DISABLED),
    tuple(kind for kind in EVENT_TYPES if kind != CREATED),
)
FOREIGN: tuple[tuple[str, str, dict[str, Any] | None], ...] = (
    ("GET", "", None),
    ("PATCH", "", {"enabled": False}),
    ("DELETE", "", None),
    ("POST", "/rotate-secret", None),
    ("POST", "/ping", None),
    ("POST", "/replay", {"since": "2020-01-01T00:00:00Z"}),
    ("GET", "/deliveries", None),
)
"""What is tried at another project's endpoint, and must not be there."""


@dataclass(slots=True)
class Known:
    """An endpoint as its operator knows it; `path` says how it behaves, and how often it has moved."""

    id: str
    name: str
    url: str
    is_enabled: bool

    @property
    def address(self) -> str:
        """Where it is found."""
        return f"{PATH}/{self.id}"


class Operator:
    """A thread that acts and writes everything down; `others` are those of the other projects."""

    def __init__(self, url: str, tenant: Tenant, life: Life, hook: str, rng: Random) -> None:
        self.tenant, self._url, self._life, self._hook, self._rng = tenant, url, life, hook, rng
        self.acts: list[Act] = []
        self.sights: set[Sight] = set()
        self.others: Sequence[Operator] = ()
        self.is_done = not life.places
        self.known: dict[str, Known] = {}
        self._left: str | None = None
        self._numbers, self._moves = count(1), count(1)
        self._is_over, self._is_enough = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin; with nothing to do there is nobody."""
        if not self.is_done:
            self._thread.start()

    def rest(self) -> None:
        """Make nothing more: there is nothing left to do it under."""
        self._is_enough.set()

    def stop(self) -> None:
        """End, after what is under way."""
        self._is_over.set()
        if self._thread.ident is not None:
            self._thread.join(TIMEOUT_S * 2)

    def _run(self) -> None:
        with httpx2.Client(base_url=self._url, headers=self.tenant.headers, timeout=TIMEOUT_S) as client:
            self._client = client
            for place in self._life.places:
                self._settle(place)
            for _ in range(self._life.acts):
                if self._is_enough.wait(self._life.every_s * self._rng.uniform(0.5, 1.5)) or self._is_over.is_set():
                    break
                self._look()
                self._something()
            self._leave_one()
            self.is_done = True
            while not self._is_over.wait(LOOK_S):
                self._look()
                self._enable()

    def _settle(self, place: Place) -> None:
        """One of the endpoints that are there from the beginning: made again until it is there."""
        name = self._name()
        while not self._is_over.is_set() and name not in {one.name for one in self.known.values()}:
            self._create(place, name)

    def _something(self) -> None:
        """One act, drawn from what can be done now."""
        alive = list(self.known.values())
        able: list[tuple[int, Callable[[], object]]] = [(2, self._trespass)]
        if len(alive) < MOST:
            able.append((2, self._create_one))
        if any(not one.is_enabled for one in alive):
            able.append((4, self._enable))
        if alive:
            one = self._rng.choice(alive)
            able += [
                (3, lambda: self._change(one, {"events": self._events()})),
                (2, lambda: self._change(one, {"url": self._place(self._manner(), one.name)})),
                (2, lambda: self._of(acts.ROTATED, one, "/rotate-secret")),
                (2, lambda: self._of(acts.PINGED, one, "/ping")),
                (2, lambda: self._of(acts.REPLAYED, one, "/replay", {"since": self._since()})),
                (3, lambda: self._redeliver(one)),
            ]
            if one.is_enabled:
                able.append((2, lambda: self._change(one, {"enabled": False})))
            if len(alive) > FEWEST:
                able.append((3, lambda: self._delete(one)))
        weights = [weight for weight, _ in able]
        self._rng.choices([act for _, act in able], weights)[0]()

    def _name(self) -> str:
        return f"{self.tenant.name}-{next(self._numbers)}"

    def _manner(self) -> str:
        return self._rng.choice(list(self._life.manners) or [receiver.WELL])

    def _events(self) -> Sequence[str] | None:
        return self._rng.choice(FILTERS)

    def _since(self) -> str:
        return datetime.fromtimestamp(time() - self._rng.uniform(0, 60), UTC).isoformat()

    def _place(self, manner: str, name: str) -> str:
        """A URL of which nobody else has ever heard."""
        path = f"{manner}/{name}.{next(self._moves)}"
        return self._hook.format(host=receiver.HOSTS[manner], manner=path)

    def _create_one(self) -> None:
        self._create(Place(self._manner(), self._events()), self._name())

    def _create(self, place: Place, name: str) -> None:
        told = {"url": self._place(place.manner, name), "description": name, "headers": {receiver.MARK: name}}
        if place.events is not None:
            told["events"] = list(place.events)
        act = self._ask(acts.CREATED, None, "POST", PATH, told)
        act.subject = act.answer.get("id")

    def _change(self, one: Known, told: Mapping[str, Any]) -> Act:
        return self._ask(acts.CHANGED, one.id, "PATCH", one.address, told)

    def _of(self, action: str, one: Known, path: str, told: Mapping[str, Any] | None = None) -> None:
        self._ask(action, one.id, "POST", one.address + path, told)

    def _delete(self, one: Known) -> None:
        if self._ask(acts.DELETED, one.id, "DELETE", one.address).is_done:
            self.known.pop(one.id)

    def _enable(self) -> None:
        for one in list(self.known.values()):
            if not one.is_enabled and one.id != self._left:
                self._change(one, {"enabled": True})

    def _leave_one(self) -> None:
        """One stays disabled for ever, if they came and went at all: what it was to hear is held."""
        able = [one for one in self.known.values() if one.is_enabled]
        if self._life.acts and able:
            one = self._rng.choice(able)
            answer = self._change(one, {"enabled": False}).answer
            self._left = one.id if answer.get("disabled_reason") == OWNER else None

    def _redeliver(self, one: Known) -> None:
        page = self._get(f"{one.address}/deliveries?limit=50")
        if page and page["data"]:
            delivery_id = self._rng.choice(page["data"])["id"]
            self._ask(acts.REDELIVERED, delivery_id, "POST", f"/v1/deliveries/{delivery_id}/redeliver")

    def _trespass(self) -> None:
        """Act on what another project has."""
        theirs = [one for other in self.others for one in list(other.known.values())]
        if theirs:
            one, (method, path, told) = self._rng.choice(theirs), self._rng.choice(FOREIGN)
            self._ask(acts.REFUSED, one.id, method, one.address + path, told)

    def _look(self) -> None:
        """Read the list: what there is, and what is disabled; the same as before where nobody answers."""
        page = self._get(f"{PATH}?limit=100")
        if page is not None:
            self.known = {}
            for shown in page["data"]:
                self._see(shown)

    def _see(self, shown: Mapping[str, Any]) -> None:
        self.known[shown["id"]] = Known(shown["id"], shown["description"], shown["url"], shown["enabled"])
        if not shown["enabled"]:
            self.sights.add(Sight(shown["id"], shown["disabled_at"], shown["disabled_reason"]))

    def _get(self, path: str) -> Any:
        """What is found there; None where nobody answers in peace."""
        while not self._is_over.is_set():
            try:
                answer = self._client.get(path)
            except httpx2.HTTPError:
                answer = None
            if answer is not None and answer.status_code < 500:
                return answer.json() if answer.status_code == 200 else None
            self._is_over.wait(0.5)
        return None

    def _ask(
        self, action: str, subject: str | None, method: str, path: str, told: Mapping[str, Any] | None = None
    ) -> Act:
        name = f"{self.tenant.name}-act-{len(self.acts) + 1}"
        act = Act(self.tenant.name, name, action, subject, told or {}, time())
        self.acts.append(act)
        try:
            answer = self._client.request(method, path, json=told, headers={"X-Request-Id": name})
        except httpx2.HTTPError:
            answer = None
        if answer is not None:
            act.status, act.answered_at = answer.status_code, time()
            act.answer = answer.json() if answer.content else {}
        if act.is_done and act.answer.get("object") == "webhook_endpoint" and action != acts.REFUSED:
            self._see(act.answer)
        if act.is_open:
            self._look()
        return act
