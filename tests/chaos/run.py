"""One run of a scenario: orders and faults from one seed, then rest, then the books."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from time import monotonic

from tests.chaos import books, endpoint_books, evidence, operator_books, orders
from tests.chaos.books import Violation
from tests.chaos.client import Clients
from tests.chaos.evidence import Evidence
from tests.chaos.operators import Operator
from tests.chaos.report import Report
from tests.chaos.scenario import Scenario
from tests.chaos.script import Script
from tests.chaos.site import Site
from tests.chaos.tenants import Tenant
from tests.postgres import Postgres

QUIET_S = 60.0
SEEN, MISSED = "seen", "missed"


def run(scenario: Scenario, folder: Path, *, postgres: Postgres | None, seed: int, jobs: int) -> Report:
    """Play it and check the books; everything is left in the folder."""
    rng = Random(seed)
    simulator = {"seed": seed, **scenario.simulator}
    with Site(folder, postgres, scenario.workers, scenario.env, simulator, scenario.projects) as site:
        crowd = [_clients(site, tenant, rng, scenario, jobs // scenario.projects) for tenant in site.tenants]
        operators = _operators(site, scenario, seed)
        script = Script(site, rng, scenario.faults)
        everybody: list[Clients | Operator] = [*crowd, *operators]
        began = monotonic()
        for one in everybody:
            one.start()
        try:
            if not script.go_on(lambda: script.is_done and all(one.is_done for one in crowd), scenario.faults_s):
                site.broken.append(f"faults or clients did not come to their end within {scenario.faults_s:g} s")
            for operator in operators:
                operator.rest()
            script.go_on(lambda: all(one.is_done for one in operators) and site.is_settled(), scenario.settle_s)
            took_s = monotonic() - began
            script.go_on(site.is_at_rest, QUIET_S)
        finally:
            for one in everybody:
                one.stop()
        return _report(site, scenario, evidence.gather(site, crowd, operators), took_s)


def _clients(site: Site, tenant: Tenant, rng: Random, scenario: Scenario, number: int) -> Clients:
    drawn = orders.draw(rng, scenario.mix, number=number, over_s=scenario.over_s, hook=site.hook(tenant))
    return Clients(site.stack.url, tenant.headers, drawn)


def _operators(site: Site, scenario: Scenario, seed: int) -> list[Operator]:
    """One for each project, with chances of his own: what he draws depends on what he sees, and nobody else's does."""
    made = [
        Operator(site.stack.url, tenant, scenario.life, site.hook(tenant), Random(f"{seed} {tenant.name}"))
        for tenant in site.tenants
    ]
    for one in made:
        one.others = [other for other in made if other is not one]
    return made


def _report(site: Site, scenario: Scenario, found: Evidence, took_s: float) -> Report:
    measured = scenario.bar(found)
    rows = [row for rows in found.interactions.values() for row in rows]
    return Report(
        jobs=len(found.accepted),
        ended=Counter(str(job.status) for job in found.jobs.values()),
        faults=sum(deed.is_fault for deed in site.diary),
        spoiled=found.spoiled,
        cut_off=sum(one.status == 0 for one in found.heard),
        lost_answers=sum(row.sent_at is not None and row.upstream_id is None for row in rows),
        orphans=sum(row.orphan for row in rows),
        longest_queue=max(found.longest.values(), default=0),
        took_s=took_s,
        violations=[*_broken(found, scenario), *measured.violations, *_seen(site, scenario)],
        own_deaths=site.own_deaths,
        measured=measured.text,
    )


def _broken(found: Evidence, scenario: Scenario) -> list[Violation]:
    of_endpoints = [*endpoint_books.RULES, *operator_books.RULES]
    return books.check(found, scenario.terms) + [violation for rule in of_endpoints for violation in rule(found)]


def _seen(site: Site, scenario: Scenario) -> Iterator[Violation]:
    """What was broken or missed while it ran, and processes that ended by themselves without a reason in it."""
    yield from (Violation(SEEN, text) for text in site.broken)
    yield from (Violation(MISSED, text) for text in site.missed)
    yield from (
        Violation(SEEN, f"{death} ended by itself")
        for death in site.own_deaths
        if int(death.split()[1]) not in scenario.deaths
    )
