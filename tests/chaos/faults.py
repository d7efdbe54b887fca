"""Faults of our own processes, of Redis and of the database; each is a small generator that `script` steps.

What the upstream does wrong is in `weather`, what receivers do is in the orders, kills at an exact beat are in `beats`.
"""

import resource
import signal
from random import Random
from time import monotonic

import psutil
import psycopg

from tests.chaos.recovery import struck
from tests.chaos.script import Fault, Steps
from tests.chaos.site import Site
from worker.app import QUEUES, START

SIZE_LIMITED = ("api", "worker")
PAGE_BYTES = 4096
ROLL_REST_S = 6.0
STOP_S = 35.0
"""What `up` gives a worker to end before it kills it."""

RECOVERED_S = 90.0
"""How long the jobs' recovery is looked at: longer than any bar allows."""

LOOK_S = 0.1


def kill_a_worker(site: Site, rng: Random) -> Steps:
    """SIGKILL to one of the workers."""
    site.signal(rng.choice(site.worker_names), signal.SIGKILL)
    yield 0


def kill_every_worker(site: Site, _rng: Random) -> Steps:
    """SIGKILL to all workers at once."""
    for name in site.worker_names:
        site.signal(name, signal.SIGKILL)
    yield 0


def measured(what: str, fault: Fault) -> Fault:
    """The fault, and how long every job takes to move again."""

    def watched(site: Site, rng: Random) -> Steps:
        yield from fault(site, rng)
        with site.database.read() as session:
            recovery = struck(session, what)
        site.recoveries.append(recovery)
        until, is_over = monotonic() + RECOVERED_S, False
        while not is_over and monotonic() < until:
            yield LOOK_S
            with site.database.read() as session:
                is_over = recovery.look(session)

    return watched


def kill_the_api(site: Site, _rng: Random) -> Steps:
    """SIGKILL to the API, whatever it is doing."""
    site.signal("api", signal.SIGKILL)
    yield 0


def roll(*names: str) -> Fault:
    """SIGTERM to one process after the other, all workers without names; each must end before it would be killed."""

    def rolling_restart(site: Site, _rng: Random) -> Steps:
        for name in names or tuple(site.worker_names):
            process, began = site.stack.processes[name], monotonic()
            site.signal(name, signal.SIGTERM)
            while process.poll() is None and monotonic() < began + STOP_S:
                yield 0.1
            if process.poll() is None:
                site.broken.append(f"{name} did not end within {STOP_S:g} s of SIGTERM")
                site.signal(name, signal.SIGKILL)
            site.note(f"{name} ended {monotonic() - began:.1f} s after SIGTERM")
            yield ROLL_REST_S

    return rolling_restart


def freeze(for_s: float, *names: str) -> Fault:
    """SIGSTOP, SIGCONT later: zombies that know nothing of the time between; some worker without names."""

    def freezing(site: Site, rng: Random) -> Steps:
        frozen = [name for name in names or [rng.choice(site.worker_names)] if site.signal(name, signal.SIGSTOP)]
        yield for_s
        for name in frozen:
            site.signal(name, signal.SIGCONT)

    return freezing


def asleep(for_s: float) -> Fault:
    """The whole machine is suspended, as a closed laptop is: nothing runs, and then all of it at once."""

    def sleeping(site: Site, rng: Random) -> Steps:
        everything = [redis_frozen(for_s), freeze(for_s, *site.stack.processes)]
        if site.postgres is not None:
            everything.append(database_frozen(for_s))
        steps = [fault(site, rng) for fault in everything]
        for one in steps:
            next(one)
        yield for_s
        for one in steps:
            next(one, None)

    return sleeping


def database_frozen(for_s: float) -> Fault:
    """PostgreSQL takes connections and answers nothing."""

    def frozen(site: Site, _rng: Random) -> Steps:
        assert site.postgres is not None
        assert site.postgres._process is not None
        site.strike("PostgreSQL frozen")
        server = psutil.Process(site.postgres._process.pid)
        processes = [server, *server.children(recursive=True)]
        for process in processes:
            process.send_signal(signal.SIGSTOP)
        yield for_s
        for process in processes:
            process.send_signal(signal.SIGCONT)
        site.note("PostgreSQL thawed")

    return frozen


def gone(name: str, for_s: float) -> Fault:
    """SIGKILL to a process that stays away for a time."""

    def away(site: Site, _rng: Random) -> Steps:
        site.absent.add(name)
        site.signal(name, signal.SIGKILL)
        yield for_s
        site.absent.discard(name)

    return away


def redis_gone(for_s: float) -> Fault:
    """SIGKILL to Redis, started again on its append-only file."""

    def away(site: Site, _rng: Random) -> Steps:
        site.strike("Redis killed")
        site.stack.kill_redis()
        yield for_s
        site.stack.start_redis()
        site.note("Redis back")

    return away


def redis_flushed(site: Site, _rng: Random) -> Steps:
    """FLUSHALL: every message and every queue is gone."""
    site.redis.flushall()
    site.strike("FLUSHALL")
    yield 0


def redis_flushed_full(for_s: float) -> Fault:
    """FLUSHALL when the queues are full: the workers stand still for so long before, and go on at once."""

    def flushed(site: Site, rng: Random) -> Steps:
        for name in site.worker_names:
            site.signal(name, signal.SIGSTOP)
        yield for_s
        if not site.backlog()[QUEUES[START]]:
            site.miss("no message was lost with FLUSHALL")
        yield from redis_flushed(site, rng)
        for name in site.worker_names:
            site.signal(name, signal.SIGCONT)

    return flushed


def redis_frozen(for_s: float) -> Fault:
    """Redis takes connections and answers nothing."""

    def frozen(site: Site, _rng: Random) -> Steps:
        process = site.stack.redis.process
        assert process is not None
        site.strike("Redis frozen")
        process.send_signal(signal.SIGSTOP)
        yield for_s
        process.send_signal(signal.SIGCONT)
        site.note("Redis thawed")

    return frozen


def database_restart(site: Site, rng: Random) -> Steps:
    """An immediate shutdown of PostgreSQL, as a crash is: every transaction under way is gone."""
    assert site.postgres is not None
    site.strike("PostgreSQL stopped")
    site.postgres.stop(signal.SIGQUIT)
    yield rng.uniform(0.5, 4)
    site.postgres.start()
    site.note("PostgreSQL back")


def database_disconnect(site: Site, _rng: Random) -> Steps:
    """Every connection to the database is cut at once, in the middle of whatever it does."""
    site.strike("database connections cut")
    with psycopg.connect(site.database_url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    yield 0


def disk_full(for_s: float) -> Fault:
    """No file of API and workers may grow: what a full disk is to SQLite, without mounting anything."""

    def full(site: Site, _rng: Random) -> Steps:
        site.strike("disk full")
        _bound_files(site, PAGE_BYTES)
        yield for_s
        _bound_files(site, resource.RLIM_INFINITY)
        site.note("disk free again")

    return full


def _bound_files(site: Site, most_bytes: int) -> None:
    for name, process in site.stack.processes.items():
        if name.startswith(SIZE_LIMITED) and process.poll() is None:
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (most_bytes, resource.RLIM_INFINITY))
