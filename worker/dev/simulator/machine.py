"""Everything one simulator holds: store, bodies, faults, counts, courier, and the bell that wakes waiting answers."""

import asyncio
from typing import Any

from worker.dev.simulator import directives
from worker.dev.simulator.courier import Courier
from worker.dev.simulator.faults import Faults, Rule, Subject, first
from worker.dev.simulator.options import Options
from worker.dev.simulator.prompt import prompt_hash
from worker.dev.simulator.record import Record
from worker.dev.simulator.stats import Stats
from worker.dev.simulator.store import Store
from worker.dev.simulator.view import Views

_PROMPTS = 10_000


class Machine:
    """The state behind the calls; used from one event loop only."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.store = Store(options)
        self.views = Views(options.seed)
        self.stats = Stats()
        self.faults = Faults(options.seed)
        self._create_rules: dict[str, list[Rule]] = {}
        self._bell = asyncio.Event()
        self.courier = Courier(self.store.now)
        self._register()
        now = self.store.now()
        for record in self.store.page(0, len(self.store)):
            if record.end_s > now:
                self.courier.watch(record)

    def _register(self) -> None:
        if self.options.webhook_url:
            self.courier.registry.add(self.options.webhook_url, [], secret=self.options.webhook_secret)

    def announce(self) -> None:
        """Wake everyone who waits: the clock or an interaction was changed from outside."""
        self.courier.look()
        self._bell.set()
        self._bell = asyncio.Event()

    async def wait(self, seconds: float) -> None:
        """Return after this long, or as soon as something is announced."""
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._bell.wait()
        except TimeoutError:
            return

    def create_fault(self, body: Any, words: str) -> Rule | None:
        """Return the rule that strikes this create, or None; a prompt's own rules count over all its POSTs."""
        rule = self._prompt_fault(words) if "[[sim:" in words else None
        if rule is None and self.faults.rules and isinstance(body, dict):
            target = body.get("agent") or body.get("model")
            rule = self.faults.strike("create", Subject(None, target, words), self.store.now())
        return self._noted("create", rule)

    def fault(self, call: str, record: Record) -> Rule | None:
        """Return the rule that strikes this call about an interaction, or None."""
        rule = first(record.rules, call, self.store.now()) if record.rules else None
        if rule is None and self.faults.rules:
            rule = self.faults.strike(call, Subject(record.id, record.target), self.store.now())
        return self._noted(call, rule)

    def strike(self, call: str, subject: Subject) -> Rule | None:
        """Return the rule that strikes a call which is about no interaction, or None."""
        return self._noted(call, self.faults.strike(call, subject, self.store.now())) if self.faults.rules else None

    def reset(self) -> None:
        """Forget interactions, faults and counts."""
        self.store.reset()
        self.stats.reset()
        self.faults.rules.clear()
        self._create_rules.clear()
        self.courier.reset()
        self._register()
        self.announce()

    def _prompt_fault(self, words: str) -> Rule | None:
        key = prompt_hash(words)
        now = self.store.now()
        rules = self._create_rules.get(key)
        if rules is None:
            rules = [rule for rule in directives.read(words).rules_at(now) if rule.call in ("create", "*")]
            if len(self._create_rules) >= _PROMPTS:
                del self._create_rules[next(iter(self._create_rules))]
            self._create_rules[key] = rules
        return first(rules, "create", now)

    def _noted(self, call: str, rule: Rule | None) -> Rule | None:
        if rule is not None:
            self.stats.faults[f"{call} {rule.kind}"] += 1
        return rule
