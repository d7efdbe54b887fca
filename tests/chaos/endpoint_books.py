"""The books of registered endpoints: who was owed what, what came to them, and what became of it.

As with all books, each rule compares accounts of different parties: of operators, of the receiver, of the database.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import orjson
from standardwebhooks import Webhook

from tests.chaos import acts, receiver
from tests.chaos.books import DELIVERY, STUCK, Found, Violation
from tests.chaos.evidence import Evidence
from tests.chaos.ledger import LAG_S, Account, Arrival, Spell, seconds
from worker.models import Delivery
from worker.states import PING
from worker.store.deliveries import CANCELLED, DELIVERED, EXHAUSTED, HELD, PENDING

SECOND_S = 1.0
"""What a signed timestamp leaves out."""


@dataclass(frozen=True, slots=True)
class Told:
    """An event, of a job or of an endpoint, and what it said."""

    id: str
    project_id: str
    type: str
    at: float
    digest: str | None
    data: dict[str, Any] | None = None
    """Of an endpoint; None for a job's."""

    @property
    def about(self) -> str | None:
        """The endpoint it tells of."""
        return self.data["id"] if self.data else None


def told(evidence: Evidence) -> dict[str, Told]:
    """Every event by its id."""
    found = {}
    for one in (one for events in evidence.events.values() for one in events):
        digest = None if one.payload is None else sha256(one.payload).hexdigest()
        found[one.id] = Told(one.id, one.project_id, one.type, seconds(one.created_at), digest)
    for row in rows(evidence):
        if row.body is not None:
            kind, data = str(row.event_type), orjson.loads(row.body)["data"]
            at, digest = seconds(row.created_at), sha256(row.body).hexdigest()
            found[row.event_id] = Told(row.event_id, row.project_id, kind, at, digest, data)
    return found


def rows(evidence: Evidence) -> list[Delivery]:
    """The deliveries to endpoints."""
    return [row for found in evidence.deliveries.values() for row in found if row.endpoint_id]


def owed(evidence: Evidence) -> Iterator[tuple[Account, Told, set[bool]]]:
    """Each endpoint with each event of its project, and whether it wanted it: both, where nobody can tell."""
    events = [event for event in told(evidence).values() if event.type != PING]
    for account in evidence.registered.accounts.values():
        project_id = evidence.registered.projects[account.tenant]
        for event in events:
            if event.project_id == project_id and event.about != account.id:
                spells = account.during(event.at, event.at + LAG_S)
                yield account, event, {spell.wants(event.type) for spell in spells}


def each_is_owed_what_it_asked_for(evidence: Evidence) -> Found:
    """One delivery for each endpoint and each event that it wanted then, and none of another kind or project."""
    number = Counter((row.event_id, row.endpoint_id) for row in rows(evidence))
    for account, event, wanted in owed(evidence):
        has = number[event.id, account.id]
        if has > 1 or (wanted == {True} and not has) or (wanted == {False} and has):
            yield Violation(DELIVERY, f"{event.type} {event.id} has {has} deliveries to {account.name}, {wanted}")


def none_is_owed_to_another(evidence: Evidence) -> Found:
    """No delivery crosses projects, none tells an endpoint of itself, and there are as many pings as were asked for."""
    events, pings = told(evidence), Counter[str]()
    for row in rows(evidence):
        account, event = evidence.registered.accounts.get(str(row.endpoint_id)), events.get(row.event_id)
        pings[str(row.endpoint_id)] += row.event_type == PING
        if account is None or event is None:
            yield Violation(DELIVERY, f"{row.id} is to an endpoint, or of an event, that nobody knows")
        elif {row.project_id, event.project_id} != {evidence.registered.projects[account.tenant]}:
            yield Violation(DELIVERY, f"{row.id} brings another project's {event.type} to {account.name}")
        elif event.about == account.id and event.type != PING:
            yield Violation(DELIVERY, f"{row.id} tells {account.name} of itself")
    for account in evidence.registered.accounts.values():
        asked = sum(act.action == acts.PINGED for act in account.acts)
        if pings[account.id] != asked:
            yield Violation(DELIVERY, f"{account.name} has {pings[account.id]} pings of {asked}")


def each_delivery_ends_as_its_endpoint_does(evidence: Evidence) -> Found:
    """Delivered where it lives, held where it is disabled, cancelled where it was deleted; and what is said came."""
    times = came(evidence)
    for row in rows(evidence):
        account = evidence.registered.accounts.get(str(row.endpoint_id))
        if account is None:
            continue
        if row.status == DELIVERED and not times[row.event_id, account.id]:
            yield Violation(DELIVERY, f"{row.id} to {account.name} is delivered and never came")
        if row.status != DELIVERED and row.status not in _ends(evidence, account, row):
            yield Violation(DELIVERY, f"{row.id} ({row.event_type}) to {account.last.url} is {row.status}")


def _ends(evidence: Evidence, account: Account, row: Delivery) -> set[str]:
    """What may have become of a delivery that was not made; a ping that fails at a disabled endpoint is given up."""
    pings = {EXHAUSTED} if row.event_type == PING else set[str]()
    endpoint = evidence.registered.rows.get(account.id)
    if not account.last.is_there:
        return {CANCELLED} | pings
    if endpoint is not None and endpoint.disabled_at is not None:
        return {HELD} | pings
    return pings if account.last.url.split("/")[4] in receiver.LIVE else {PENDING} | pings


def nothing_comes_that_must_not(evidence: Evidence) -> Found:
    """What comes is somebody's, with the bytes that were written once, to where he is, signed by his secrets."""
    events, paths = told(evidence), evidence.registered.by_path
    written = {(row.event_id, row.endpoint_id): row for row in rows(evidence)}
    for arrival in evidence.registered.arrivals:
        account, event = paths.get(arrival.path), events.get(arrival.webhook_id)
        row = written.get((arrival.webhook_id, account.id if account else None))
        if account is None or event is None or row is None:
            yield Violation(DELIVERY, f"{arrival.webhook_id} came to {arrival.path} and must not be")
            continue
        if arrival.digest != event.digest:
            yield Violation(DELIVERY, f"{event.type} {event.id} came to {account.name} with other bytes")
        if arrival.mark != account.name:
            yield Violation(DELIVERY, f"{event.id} came to {account.name} with the header of {arrival.mark}")
        yield from _placed(evidence, account, arrival)
        yield from _disturbs(evidence, account, arrival, row)


def _placed(evidence: Evidence, account: Account, arrival: Arrival) -> Found:
    """It went where the endpoint was when it was claimed, under the secrets of then, and not long after its end."""
    spells = account.during(arrival.timestamp, arrival.timestamp + SECOND_S + LAG_S)
    here = [spell for spell in spells if spell.is_there and spell.url.endswith(arrival.path)]
    if not here:
        yield Violation(DELIVERY, f"{arrival.webhook_id} came to {arrival.path} when {account.name} was not there")
    elif not any(_signed(evidence, spell, arrival) for spell in spells):
        yield Violation(DELIVERY, f"{arrival.webhook_id} came to {account.name} signed otherwise than it should be")
    if not account.last.is_there and arrival.at > account.last.surely + evidence.registered.talk_s + LAG_S:
        yield Violation(DELIVERY, f"{arrival.webhook_id} came to {account.name} long after it was deleted")


def _signed(evidence: Evidence, spell: Spell, arrival: Arrival) -> bool:
    """One signature for each live secret, in order; by a secret that nobody was told: by none that anybody was."""
    signatures = arrival.signature.split(" ")
    if len(signatures) != len(spell.secrets):
        return False
    return all(
        _sign(secret, arrival) == signature
        if secret
        else signature not in {_sign(known, arrival) for known in evidence.registered.secrets}
        for secret, signature in zip(spell.secrets, signatures, strict=True)
    )


def _sign(secret: str, arrival: Arrival) -> str:
    at = datetime.fromtimestamp(arrival.timestamp, UTC)
    return str(Webhook(secret).sign(arrival.webhook_id, at, arrival.body))


def _disturbs(evidence: Evidence, account: Account, arrival: Arrival, row: Delivery) -> Found:
    """To a disabled endpoint goes only what its operator asked for."""
    if row.event_type == PING or _is_asked(evidence, account, arrival, row):
        return
    for _, since, until in account.disabled():
        if since + LAG_S <= arrival.timestamp and arrival.timestamp + SECOND_S <= until:
            yield Violation(DELIVERY, f"{arrival.webhook_id} came to {account.name}, disabled and unasked")


def _is_asked(evidence: Evidence, account: Account, arrival: Arrival, row: Delivery) -> bool:
    asked = {(acts.REDELIVERED, row.id), (acts.REPLAYED, account.id)}
    return any((act.action, act.subject) in asked and act.asked_at <= arrival.at for act in evidence.registered.acts)


def every_attempt_is_logged_once(evidence: Evidence) -> Found:
    """As many attempts as are counted, in order, and none answered that did not come."""
    times = came(evidence)
    for row in rows(evidence):
        made = evidence.registered.attempts.get(row.id, [])
        if [one.number for one in made] != list(range(1, row.attempts + 1)):
            yield Violation(DELIVERY, f"{row.id} has the attempts {[one.number for one in made]} of {row.attempts}")
        answered = sum(one.http_status is not None for one in made)
        if answered > times[row.event_id, str(row.endpoint_id)]:
            yield Violation(DELIVERY, f"{row.id} was answered {answered} times and did not come so often")


def nothing_waits_for_ever_at_an_endpoint(evidence: Evidence) -> Found:
    """What waits has a time, or its endpoint has; no endpoint is overdue."""
    overdue = seconds(evidence.now) - 10
    for row in rows(evidence):
        endpoint = evidence.registered.rows.get(str(row.endpoint_id))
        waits = endpoint is not None and endpoint.failures > 0 and endpoint.due_at is not None
        if row.status in {PENDING, HELD} and row.due_at is None and not waits:
            yield Violation(STUCK, f"{row.id} to {row.url} is {row.status} and never due")
    for endpoint in evidence.registered.rows.values():
        if endpoint.due_at is not None and seconds(endpoint.due_at) < overdue:
            yield Violation(STUCK, f"{endpoint.id} is overdue since {endpoint.due_at}")


def came(evidence: Evidence) -> Counter[tuple[str, str]]:
    """How often each event came to each endpoint."""
    paths = evidence.registered.by_path
    return Counter((one.webhook_id, paths[one.path].id) for one in evidence.registered.arrivals if one.path in paths)


RULES: tuple[Callable[[Evidence], Found], ...] = (
    each_is_owed_what_it_asked_for,
    none_is_owed_to_another,
    each_delivery_ends_as_its_endpoint_does,
    nothing_comes_that_must_not,
    every_attempt_is_logged_once,
    nothing_waits_for_ever_at_an_endpoint,
)
