"""What the upstream does wrong: faults of the simulator for a time, its outages, and the clock it tells."""

from collections import Counter
from collections.abc import Iterator
from random import Random
from time import time
from typing import Any

import httpx2

from tests.chaos.faults import gone
from tests.chaos.script import Fault, Steps
from tests.chaos.site import Site
from worker.dev.simulator.record import ENDED

EVERYTHING = "all"
KEY_BACK = "the key is taken again"
GATE = 'nightdesk_gate_closed{target="the key"} 1.0'


def upstream(call: str, kind: str = "status", **limits: Any) -> Fault:
    """A fault of the simulator from now on; `for_s`, `count` or `probability` limit it."""

    def fault(site: Site, _rng: Random) -> Steps:
        try:
            site.control.fault(call, kind, **limits)
        except OSError:
            site.note("the upstream is away and cannot fail otherwise")
            return
        site.strike(f"upstream: {call} {kind} {limits}")
        yield float(limits.get("for_s", 0))

    return fault


def outage(for_s: float) -> Fault:
    """The upstream is killed and comes back with the runs that it had."""

    def away(site: Site, rng: Random) -> Steps:
        site.keep_count()
        yield from gone("simulator", for_s)(site, rng)

    return away


def bad_key(for_s: float) -> Fault:
    """The upstream refuses our key for a time; meanwhile every job waits, and the service says why."""

    def refused(site: Site, _rng: Random) -> Steps:
        site.strike("the key is refused")
        site.stack.kill("simulator")
        site.stack.start_simulator(api_key="another")
        yield for_s
        site.broken.extend(_unsaid(site))
        site.stack.kill("simulator")
        site.stack.start_simulator()
        site.note(KEY_BACK)

    return refused


def _unsaid(site: Site) -> Iterator[str]:
    """What should be seen of a key that is refused, and is not."""
    waiting, moving = (
        site.number(f"SELECT count(*) FROM job WHERE status = '{status}'") for status in ("queued", "starting")
    )
    if not waiting or moving:
        yield f"the key is refused, {waiting} jobs wait and {moving} are being started"
    report = httpx2.get(f"{site.stack.url}/readyz", timeout=10).json()
    if report["status"] != "degraded" or report["checks"]["gates"]["status"] != "degraded":
        yield f"the key is refused and /readyz says {report['status']}, {report['checks']['gates']}"
    if GATE not in httpx2.get(f"{site.stack.url}/metrics", headers=site.stack.headers, timeout=10).text:
        yield "the key is refused and /metrics tells of no closed gate"


def crowded(most: int, most_of_one: int, for_s: float) -> Fault:
    """No fault at all: looks again and again how much runs upstream at once."""

    def watched(site: Site, _rng: Random) -> Steps:
        site.note(f"at most {most}, {most_of_one} of one target")
        until, peak = time() + for_s, Counter[str]()
        while time() < until:
            yield 0.2
            running = Counter(one["target"] for one in site.control.interactions() if one["status"] not in ENDED)
            peak |= running | Counter({EVERYTHING: running.total()})
        of_one = max((number for name, number in peak.items() if name != EVERYTHING), default=0)
        if peak[EVERYTHING] > most or of_one > most_of_one:
            site.broken.append(f"at once ran {dict(peak)}")
        if peak[EVERYTHING] < most or of_one < most_of_one:
            site.miss(f"at once ran {dict(peak)} only: the limits were not reached")
        site.note(f"at once ran {dict(peak)}")

    return watched


def clock_ahead(seconds: float) -> Fault:
    """The upstream's clock is ahead of ours, and with it every `created` and `updated`."""

    def ahead(site: Site, _rng: Random) -> Steps:
        site.strike(f"upstream's clock {seconds:g} s ahead")
        site.control.advance(seconds)
        yield 0

    return ahead


def odd_times(times: int) -> Fault:
    """Runs that tell times long past and never ordered, and in the end a result all the same."""

    def odd(site: Site, rng: Random) -> Steps:
        for _ in range(times):
            yield 0.3
            running = [one for one in site.control.interactions() if one["status"] == "in_progress"]
            if running:
                told = {"created": "1970-01-01T00:00:00Z", "updated": "1969-12-31T23:59:59Z"}
                text = [{"type": "text", "text": f"told late {rng.random()}"}]
                output = {"steps": [{"type": "model_output", "content": text}], "status": "completed"}
                site.control.direct(rng.choice(running)["id"], body={**told, **output})

    return odd
