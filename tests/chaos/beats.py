"""Kills at an exact beat: a trigger of PostgreSQL holds one chosen change, at its commit, until its process was killed.

The change then happens, though nobody is left to hear of it, or it is rolled back: the two sides of every commit.
"""

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import psycopg

from tests.chaos.script import STEP_S, Fault, Steps
from tests.chaos.site import Site

WAIT_S = 12.0
REST_S = 1.0
COMMITTED, ROLLED_BACK = "committed", "rolled back"
SUBMIT = "submit"


@dataclass(frozen=True, slots=True)
class Beat:
    """A change of a row: its table, and the condition over OLD and NEW that tells it from others."""

    table: str
    when: str
    event: str = "UPDATE"


BEATS = {
    SUBMIT: Beat("job", "NEW.status = 'queued'", "INSERT"),
    "start claims": Beat("job", "OLD.status = 'queued' AND NEW.status = 'starting'"),
    "start sends": Beat("job", "OLD.status = 'starting' AND OLD.sent_at IS NULL AND NEW.sent_at IS NOT NULL"),
    "start records": Beat("job", "OLD.status = 'starting' AND NEW.status = 'in_progress'"),
    "sweep gives up": Beat("job", "OLD.status = 'starting' AND NEW.status IN ('unconfirmed', 'queued')"),
    "unconfirmed decides": Beat("job", "OLD.status = 'unconfirmed' AND NEW.status IN ('queued', 'failed')"),
    "poll claims": Beat("job", "OLD.status = 'in_progress' AND OLD.claim IS NULL AND NEW.claim IS NOT NULL"),
    "poll records": Beat("job", "OLD.status = NEW.status AND OLD.polls < NEW.polls"),
    "settle": Beat("job", "OLD.status = 'in_progress' AND NEW.status = 'completed'"),
    "cancel claims": Beat("job", "OLD.status = 'cancelling' AND OLD.claim IS NULL AND NEW.claim IS NOT NULL"),
    "cancel records": Beat("job", "OLD.cancel_answered_at IS NULL AND NEW.cancel_answered_at IS NOT NULL"),
    "deliver claims": Beat("delivery", "OLD.claim IS NULL AND NEW.claim IS NOT NULL"),
    "deliver records": Beat("delivery", "OLD.status = 'pending' AND NEW.status = 'delivered'"),
}
"""Every commit of the engine, by what it changes."""


def killed_at(name: str, side: str) -> Fault:
    """SIGKILL to whoever is about to commit this change, which then is `committed` all the same or `rolled back`."""

    def killed(site: Site, _rng: Random) -> Steps:
        with psycopg.connect(site.database_url, autocommit=True) as connection:
            _hold(connection, BEATS[name])
            waited_s, held = 0.0, list[int]()
            while not held and waited_s < WAIT_S:
                yield STEP_S
                waited_s += STEP_S
                held = _held(connection)
            if held:
                _kill(site, ["api"] if name == SUBMIT else site.worker_names)
            site.note(f"killed where {name}, {side}" if held else f"{name}: never came")
            if side == ROLLED_BACK:
                connection.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s::int[]) AS pid", [held])
            _let_go(connection, BEATS[name])
        yield REST_S

    return killed


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
