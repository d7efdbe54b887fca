"""Kills at an exact beat: a trigger of PostgreSQL holds one chosen change, at its commit, until its process was killed.

The change then happens, though nobody is left to hear of it, or it is rolled back: the two sides of every commit.
Between two commits, where a process talks to the outside, there is nothing to hold: `TALKS` tell when somebody does.
"""

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

import psycopg

from tests.chaos.faults import kill_every_worker
from tests.chaos.script import STEP_S, Fault, Steps, in_turn, once
from tests.chaos.site import Site

WAIT_S = 30.0
REST_S = 1.0
COMMITTED, ROLLED_BACK = "committed", "rolled back"
API, WORKERS = "api", "workers"


@dataclass(frozen=True, slots=True)
class Beat:
    """A change of a row: its table, the condition over OLD and NEW that tells it from others, and who makes it."""

    table: str
    when: str
    event: str = "UPDATE"
    by: str = WORKERS


def _job(when: str, by: str = WORKERS) -> Beat:
    return Beat("job", when, by=by)


def _endpoint(when: str, by: str = API) -> Beat:
    return Beat("webhook_endpoint", when, by=by)


def _delivery(source: str, target: str, by: str = WORKERS) -> Beat:
    return Beat("delivery", f"OLD.status = '{source}' AND NEW.status = '{target}'", by=by)


def _move(source: str, target: str, more: str = "TRUE", by: str = WORKERS) -> Beat:
    return _job(f"OLD.status = '{source}' AND NEW.status = '{target}' AND {more}", by)


BEATS = {
    "submit": Beat("job", "NEW.status = 'queued'", "INSERT", API),
    "cancel asked": _move("in_progress", "cancelling", "NEW.cancel_cause = 'owner'", API),
    "hint": _move("queued", "queued", "OLD.due_at < NEW.due_at"),
    "start claims": _move("queued", "starting"),
    "start sends": _move("starting", "starting", "OLD.sent_at IS NULL AND NEW.sent_at IS NOT NULL"),
    "start records": _move("starting", "in_progress"),
    "start refused": _move("starting", "queued", "OLD.sent_at IS NOT NULL"),
    "start lost": _move("starting", "unconfirmed", "OLD.due_at > now()"),
    "sweep gives up": _job("OLD.status = 'starting' AND OLD.due_at <= now() AND NEW.status <> OLD.status"),
    "unconfirmed decides": _job("OLD.status = 'unconfirmed' AND NEW.status IN ('queued', 'failed')"),
    "sweep": Beat("moment", "NEW.name = 'sweep'"),
    "poll claims": _move("in_progress", "in_progress", "OLD.claim IS NULL AND NEW.claim IS NOT NULL"),
    "poll records": _move("in_progress", "in_progress", "OLD.polls < NEW.polls"),
    "settle": _move("in_progress", "completed"),
    "settle fails": _move("in_progress", "failed"),
    "settle tries again": _move("in_progress", "queued"),
    "deadline": _move("in_progress", "cancelling", "NEW.cancel_cause = 'deadline'"),
    "cancel claims": _move("cancelling", "cancelling", "OLD.claim IS NULL AND NEW.claim IS NOT NULL"),
    "cancel records": _job("OLD.cancel_answered_at IS NULL AND NEW.cancel_answered_at IS NOT NULL"),
    "cancel settles": _job("OLD.status = 'cancelling' AND NEW.status IN ('cancelled', 'expired')"),
    "deliver claims": Beat("delivery", "OLD.claim IS NULL AND NEW.claim IS NOT NULL"),
    "deliver records": _delivery("pending", "delivered"),
    "deliver fails": Beat("delivery", "NEW.status = 'pending' AND OLD.claim IS NOT NULL AND NEW.claim IS NULL"),
    "hold": _delivery("pending", "held"),
    "release": _delivery("held", "pending"),
    "cancel": Beat("delivery", "OLD.status IN ('pending', 'held') AND NEW.status = 'cancelled'"),
    "redeliver": _delivery("delivered", "pending", API),
    "ping": Beat("delivery", "NEW.event_type = 'webhook.ping'", "INSERT", API),
    "endpoint": Beat("webhook_endpoint", "NEW.deleted_at IS NULL", "INSERT", API),
    "endpoint moves": _endpoint("OLD.url <> NEW.url AND NEW.deleted_at IS NULL"),
    "endpoint rotates": _endpoint("OLD.secret <> NEW.secret AND NEW.deleted_at IS NULL"),
    "endpoint replays": _endpoint(
        "NEW.replay_until IS NOT NULL AND NEW.replay_until IS DISTINCT FROM OLD.replay_until"
    ),
    "endpoint is disabled": _endpoint("OLD.disabled_at IS NULL AND NEW.disabled_reason = 'gone'", WORKERS),
    "endpoint is enabled": _endpoint("OLD.disabled_at IS NOT NULL AND NEW.disabled_at IS NULL"),
    "endpoint is deleted": _endpoint("OLD.deleted_at IS NULL AND NEW.deleted_at IS NOT NULL"),
}
"""Every commit of the engine, and of operators, by what it changes."""

TALKS = {
    "create": "SELECT count(*) FROM job WHERE status = 'starting' AND sent_at IS NOT NULL",
    "get": "SELECT count(*) FROM job WHERE status = 'in_progress' AND claim IS NOT NULL",
    "cancel": "SELECT count(*) FROM job WHERE status = 'cancelling' AND claim IS NOT NULL AND cancel_answer IS NULL",
    "deliver": "SELECT count(*) FROM delivery WHERE claim IS NOT NULL",
}
"""How many rows somebody holds while he talks about them; where the other side is slow, nearly all of the time."""


def killed_at(name: str, side: str) -> Fault:
    """SIGKILL to whoever is about to commit this change, which then is `committed` all the same or `rolled back`."""

    def killed(site: Site, _rng: Random) -> Steps:
        beat = BEATS[name]
        with psycopg.connect(site.database_url, autocommit=True) as connection:
            _hold(connection, beat)
            waited_s, held = 0.0, list[int]()
            while not held and waited_s < WAIT_S:
                yield STEP_S
                waited_s += STEP_S
                held = _held(connection)
            if held:
                _kill(site, ["api"] if beat.by == API else site.worker_names)
                site.note(f"killed where {name}, {side}")
            else:
                site.miss(f"{name}, {side}: never came")
            if side == ROLLED_BACK:
                connection.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s::int[]) AS pid", [held])
            _let_go(connection, beat)
        yield REST_S

    return killed


def killed_at_each(*names: str) -> Fault:
    """Both sides of each of these commits, one after the other."""
    return in_turn(*(killed_at(name, side) for name in names for side in (COMMITTED, ROLLED_BACK)))


def talks(what: str) -> Callable[[Site], bool]:
    """Whether somebody waits for the other side's answer."""

    def is_talking(site: Site) -> bool:
        return bool(site.number(TALKS[what]))

    is_talking.__name__ = f"talk of {what}"
    return is_talking


def killed_during(what: str) -> Fault:
    """SIGKILL to all workers while one of them waits for the other side's answer."""
    return once(talks(what), kill_every_worker, WAIT_S)


def _kill(site: Site, names: Sequence[str]) -> None:
    for name in names:
        site.signal(name, signal.SIGKILL)


def _hold(connection: psycopg.Connection, beat: Beat) -> None:
    """From now on such a change waits, at the end of its transaction, for a lock that this connection has."""
    connection.execute("SELECT pg_advisory_lock(1)")
    connection.execute(
        "CREATE OR REPLACE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NULL; END $$"
    )
    trigger = (
        f"CREATE CONSTRAINT TRIGGER hold AFTER {beat.event} ON {beat.table} DEFERRABLE INITIALLY DEFERRED"
        f" FOR EACH ROW WHEN ({beat.when}) EXECUTE FUNCTION hold()"
    )
    connection.execute(trigger.encode())


def _held(connection: psycopg.Connection) -> list[int]:
    """The server's processes that wait there."""
    found = connection.execute("SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = 1 AND NOT granted")
    return [row[0] for row in found]


def _let_go(connection: psycopg.Connection, beat: Beat) -> None:
    connection.execute("SELECT pg_advisory_unlock(1)")
    connection.execute(f"DROP TRIGGER hold ON {beat.table}".encode())
