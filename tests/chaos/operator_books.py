"""The books of operators: what became of what they did, how their endpoints fared, and what the audit log says."""

from collections import Counter
from collections.abc import Callable, Sequence
from math import inf

from tests.chaos import acts
from tests.chaos.acts import Act, Sight
from tests.chaos.books import Found, Violation
from tests.chaos.endpoint_books import SECOND_S, rows, told
from tests.chaos.evidence import Evidence
from tests.chaos.ledger import LAG_S, Account, seconds
from worker.document import stamp
from worker.flow.health import GONE, OWNER
from worker.models import AuditEntry, DeliveryAttempt
from worker.states import ENDPOINT_DISABLED
from worker.store.deliveries import CANCELLED, DELIVERED

ENDPOINT, AUDIT = "endpoint", "audit"


def disablings_are_told_once(evidence: Evidence) -> Found:
    """Each by a 410 and each 410 in time, told once to the project's other endpoints; what its operator did, never."""
    accounts, events = evidence.registered.accounts, told(evidence).values()
    said = Counter((one.about, (one.data or {})["disabled_at"]) for one in events if one.type == ENDPOINT_DISABLED)
    for account in accounts.values():
        failures = [one for one in _attempts(evidence, account) if one.http_status == 410]
        for sight, since, _ in account.disabled():
            times = said.pop((account.id, sight.disabled_at), 0)
            heard = any(_surely_hears(other, account, since) for other in accounts.values())
            if times > 1 or (sight.reason == OWNER and times) or (sight.reason != OWNER and heard and not times):
                yield Violation(ENDPOINT, f"{account.name}, disabled by {sight.reason}, was told of {times} times")
            if not _is_caused(account, sight, failures):
                yield Violation(ENDPOINT, f"{account.name} was disabled as {sight.reason} without a cause")
        for one in failures:
            if not _is_heeded(account, one):
                yield Violation(ENDPOINT, f"{account.name} answered 410 and was not disabled")
    for about, disabled_at in said:
        yield Violation(ENDPOINT, f"it was told that {about} was disabled at {disabled_at}, which nobody saw")


def _is_heeded(account: Account, answer: DeliveryAttempt) -> bool:
    """Whether an answer disabled its endpoint, which was disabled already, or has moved and is another one's now."""
    begin, end = seconds(answer.at), _end(answer) + LAG_S
    has_moved = len({spell.url for spell in account.during(begin, end)}) > 1
    return has_moved or any(since <= end and until >= begin for _, since, until in account.disabled())


def _surely_hears(other: Account, account: Account, at: float) -> bool:
    spells = other.during(at, at + LAG_S)
    return other is not account and other.tenant == account.tenant and all(s.wants(ENDPOINT_DISABLED) for s in spells)


def _is_caused(account: Account, sight: Sight, failures: Sequence[DeliveryAttempt]) -> bool:
    since = seconds(sight.disabled_at)
    if sight.reason == OWNER:
        return any(act.told.get("enabled") is False and act.asked_at <= since + SECOND_S for act in account.acts)
    return sight.reason == GONE and any(seconds(one.at) <= since for one in failures)


def each_endpoint_is_as_it_was_left(evidence: Evidence) -> Found:
    """It is there unless it was deleted, with the URL, filter and state that its operator gave it last."""
    found = {name: row for name, row in evidence.registered.rows.items() if row.deleted_at is None}
    for name in found.keys() - evidence.registered.accounts.keys():
        yield Violation(ENDPOINT, f"{name} was made by nobody")
    for account in evidence.registered.accounts.values():
        row = found.get(account.id)
        if account.last.is_there != (row is not None):
            yield Violation(ENDPOINT, f"{account.name} is {'gone' if row is None else 'there'} and should not be")
        if row is None or not account.last.is_there:
            continue
        events = None if account.last.events is None else list(account.last.events)
        if (row.url, row.events) != (account.last.url, events):
            yield Violation(ENDPOINT, f"{account.name} has another URL or filter than it was given")
        is_disabled = any(until == inf for _, _, until in account.disabled())
        if is_disabled != (row.disabled_at is not None):
            yield Violation(ENDPOINT, f"{account.name} is disabled at {stamp(row.disabled_at)}: {is_disabled}")


def health_is_what_attempts_say(evidence: Evidence) -> Found:
    """No failure is counted where the last attempt went well, every one where none ever did."""
    for account in evidence.registered.accounts.values():
        row, made = evidence.registered.rows.get(account.id), _attempts(evidence, account)
        if row is None or row.deleted_at is not None or not made:
            continue
        ended = {one.status for one in rows(evidence) if one.endpoint_id == account.id}
        if ended == {DELIVERED} and (row.failures or row.failing_since):
            yield Violation(ENDPOINT, f"{account.name} took everything and has {row.failures} failures")
        is_steady = not any(act.action == acts.CHANGED for act in account.acts)
        if is_steady and all(one.outcome != "ok" for one in made):
            since = seconds(row.failing_since) if row.failing_since else inf
            begin, end = min(seconds(one.at) for one in made), min(map(_end, made)) + LAG_S
            if row.failures != len(made) or not begin <= since <= end:
                yield Violation(ENDPOINT, f"{account.name} failed {len(made)} times: {row.failures} since {since}")


def acts_are_answered_rightly(evidence: Evidence) -> Found:
    """What is another project's is not there, and nothing else is refused."""
    for act in evidence.registered.acts:
        is_right = act.status == 404 if act.action == acts.REFUSED else act.is_done or _is_lost(evidence, act)
        if not is_right and not act.is_open:
            yield Violation(ENDPOINT, f"{act.request_id} ({act.action}) was answered {act.status}")


def what_is_asked_for_is_tried(evidence: Evidence) -> Found:
    """Every ping and every redelivery that was answered was sent after that, unless the endpoint was deleted first."""
    found = {row.id: row for row in rows(evidence)}
    for act in (one for one in evidence.registered.acts if one.is_done):
        asked = {acts.PINGED: act.answer.get("id"), acts.REDELIVERED: act.subject}
        if act.action not in asked:
            continue
        name = str(asked[act.action])
        is_tried = any(seconds(one.at) >= act.asked_at for one in evidence.registered.attempts.get(name, []))
        if name not in found or not (is_tried or found[name].status == CANCELLED):
            yield Violation(ENDPOINT, f"{act.request_id} ({act.action}) asked for {name}, and it was not tried")


def every_act_is_noted_once(evidence: Evidence) -> Found:
    """What was answered as done, in the name of who did it; at most once what was not answered; nothing else."""
    noted = dict(evidence.registered.noted)
    for act in evidence.registered.acts:
        entries, is_mine = noted.pop(act.request_id, []), act.action != acts.REFUSED
        least, most = act.is_done and is_mine, (act.is_done or act.is_open) and is_mine
        if not least <= len(entries) <= most:
            yield Violation(
                AUDIT, f"{act.request_id} ({act.action}), answered {act.status}, has {len(entries)} entries"
            )
        for entry in entries:
            if not _is_right(evidence, act, entry):
                yield Violation(AUDIT, f"{act.request_id} is noted as {entry.action} of {entry.subject}")
    for entries in noted.values():
        yield Violation(AUDIT, f"{entries[0].action} of {entries[0].subject} was done by nobody")


def _is_right(evidence: Evidence, act: Act, entry: AuditEntry) -> bool:
    project_id, key_id = evidence.registered.projects[act.tenant], evidence.registered.keys[act.tenant]
    is_of_it = act.subject in {None, entry.subject}
    return is_of_it and (entry.action, entry.project_id, entry.actor) == (act.action, project_id, key_id)


def _is_lost(evidence: Evidence, act: Act) -> bool:
    """Whether what it is about may have been deleted by an act that nobody answered."""
    gone = (one for one in evidence.registered.acts if one.action == acts.DELETED and one.is_open)
    return act.status == 404 and any(one.subject == act.subject and one.asked_at < act.asked_at for one in gone)


def _attempts(evidence: Evidence, account: Account) -> list[DeliveryAttempt]:
    mine = [row.id for row in rows(evidence) if row.endpoint_id == account.id]
    return [one for name in mine for one in evidence.registered.attempts.get(name, [])]


def _end(attempt: DeliveryAttempt) -> float:
    return seconds(attempt.at) + attempt.latency_ms / 1000


RULES: tuple[Callable[[Evidence], Found], ...] = (
    disablings_are_told_once,
    each_endpoint_is_as_it_was_left,
    health_is_what_attempts_say,
    acts_are_answered_rightly,
    what_is_asked_for_is_tried,
    every_act_is_noted_once,
)
