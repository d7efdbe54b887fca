"""Faults of the wake-ups themselves: every message doubled, most of them stolen, none let through, none heard."""

import threading
from collections.abc import Callable
from random import Random

import redis

from tests.chaos.script import Fault, Steps
from tests.chaos.site import Site
from worker.app import QUEUES, build, redis_client

THIEVES = 6
"""Each waits for messages as a worker does; Redis gives to whoever has waited longest."""

STOP_S = 5.0
DEAF = "workers deaf"
PUSHES = ("LPUSH", "RPUSH")


def messages_doubled(for_s: float) -> Fault:
    """Every message is put into its queue a second time as soon as it was put there."""

    def doubled(site: Site, _rng: Random) -> Steps:
        site.strike("every message doubled")
        yield from _meanwhile(site, for_s, [_double])
        site.note("messages single again")

    return doubled


def messages_stolen(for_s: float) -> Fault:
    """Thieves take most of the messages and drop them."""

    def stolen(site: Site, _rng: Random) -> Steps:
        site.strike("messages stolen")
        yield from _meanwhile(site, for_s, [_steal] * THIEVES)
        site.note("messages safe again")

    return stolen


def no_messages(for_s: float) -> Fault:
    """Redis takes no message from anybody; nothing else is wrong with it."""

    def none(site: Site, _rng: Random) -> Steps:
        site.strike("no messages")
        site.redis.acl_setuser("default", enabled=True, commands=["-lpush", "-rpush"])
        yield for_s
        site.redis.acl_setuser("default", enabled=True, commands=["+lpush", "+rpush"])
        site.note("messages again")

    return none


def workers_deaf(site: Site, _rng: Random) -> Steps:
    """Every worker stops taking messages and lives on, as after a lost subscription."""
    site.strike(DEAF)
    app = build(site.stack.settings, sends=True)
    for queue in QUEUES.values():
        app.control.cancel_consumer(queue)
    app.close()
    yield 0


Work = Callable[[redis.Redis, threading.Event], None]


def _meanwhile(site: Site, for_s: float, works: list[Work]) -> Steps:
    over = threading.Event()
    clients = [redis_client(site.stack.settings, timeout_s=STOP_S) for _ in works]
    pairs = zip(works, clients, strict=True)
    threads = [threading.Thread(target=work, args=(client, over), daemon=True) for work, client in pairs]
    for thread in threads:
        thread.start()
    yield for_s
    over.set()
    site.redis.ping()  # whoever listens to the commands hears one more, and ends
    for thread in threads:
        thread.join(STOP_S)
    for client in clients:
        client.close()


def _steal(client: redis.Redis, over: threading.Event) -> None:
    while not over.is_set():
        client.brpop(list(QUEUES.values()), timeout=1)


def _double(client: redis.Redis, over: threading.Event) -> None:
    copied = set[str]()
    with client.monitor() as monitor:  # type: ignore[no-untyped-call]
        while not over.is_set():
            heard = monitor.next_command()
            words = (heard or {}).get("command", "").split(" ", 2)
            if len(words) < 3 or words[0].upper() not in PUSHES or words[1] not in QUEUES.values():
                continue
            if words[2] in copied:
                continue
            copied.add(words[2])
            client.lpush(words[1], words[2])
