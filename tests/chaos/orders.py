"""What the clients of a run order: a seeded mix of models and agents, followers, batches, cancels, and webhooks."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.chaos import receiver

MODELS = ("gemini-3.8-flash", "gemini-3.5-flash-lite")
AGENT = "deep-research-preview-04-2026"
BATCH = 3
LARGE = "[[sim: size=300kb]]"
"""A result that does not fit into a webhook."""

LOOK = {"type": "function", "name": "look", "parameters": {"type": "object"}}
CALLS, ANSWERS = 2, 2
"""How many functions a job that asks calls at first, and how often it asks before it is content."""

SINGLE, BATCHED = "/v1/jobs", "/v1/jobs/batch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """Shares of the orders, 0 to 1; what is left are plain models with `on_unknown_create` as it is by default."""

    agents: float = 0.3
    agents_retry: float = 0.05
    models_fail: float = 0.15
    followers: float = 0.06
    batches: float = 0.05
    cancels: float = 0.05
    webhooks: float = 0.9
    manners: Mapping[str, float] = field(default_factory=lambda: {receiver.WELL: 1.0})
    """How the receivers behave, with the weight of each."""
    directives: Mapping[str, float] = field(default_factory=lambda: {LARGE: 0.03})
    """Directives for the simulator, each with the share of jobs that carry it."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Fields that every job has."""
    asks: int = 0
    """One order in so many, where it is one for a model, calls functions and waits for their results; 0: none."""


@dataclass(slots=True)
class Order:
    """One POST under one idempotency key, and what came of it."""

    key: str
    bodies: list[dict[str, Any]]
    number: int = 0
    due_s: float = 0.0
    after: int | None = None
    cancel_after_s: float | None = None
    answers: int = 0
    """How often its job asks for results of functions."""
    job_ids: list[str] = field(default_factory=list)
    replayed_ids: list[str] = field(default_factory=list)
    """What the same POST, sent by another client at the same time, was answered with."""

    was_cancelled: bool = False
    was_refused: bool = False
    """What it follows ended without an interaction: it, and what follows it, cannot be."""

    @property
    def path(self) -> str:
        """Where it is posted."""
        return SINGLE if len(self.bodies) == 1 else BATCHED

    def result(self, turn: int) -> str:
        """What each call of a turn is answered with; it makes the model ask again, but for the last."""
        said = f"{self.key} was answered {turn} times."
        return said if turn >= self.answers else f"{said} [[sim: calls=1]]"

    def prompts(self, body: Mapping[str, Any]) -> list[str]:
        """The words of each create that the job of this body sends, turn by turn."""
        answers = ["\n".join([self.result(1)] * CALLS), *(self.result(turn) for turn in range(2, self.answers + 1))]
        return [body["input"], *answers[: self.answers]]

    def content(self, previous_job_id: str | None) -> dict[str, Any]:
        """The request's body."""
        if len(self.bodies) > 1:
            return {"jobs": self.bodies}
        return self.bodies[0] | ({"previous_job_id": previous_job_id} if previous_job_id else {})


def draw(rng: Random, mix: Mix, *, number: int, over_s: float, hook: str) -> list[Order]:
    """`number` orders, evenly over `over_s` seconds; `hook` is the receiver's URL with `{host}` and `{manner}`."""
    run = f"{rng.getrandbits(32):08x}"
    made = []
    for place in range(number):
        order = _order(rng, mix, f"{run} {place}", hook)
        order.number, order.due_s = place, place * over_s / number
        if place > 4 and len(order.bodies) == 1 and rng.random() < mix.followers:
            order.after = rng.randrange(place)
        if mix.asks and place % mix.asks == 1 and len(order.bodies) == 1 and "model" in order.bodies[0]:
            _ask(order)
        made.append(order)
    return made


def _ask(order: Order) -> None:
    """Nothing is drawn for it: a seed gives the same orders with and without."""
    (body,) = order.bodies
    order.answers = ANSWERS
    order.bodies = [body | {"input": f"{body['input']} [[sim: calls={CALLS}]]", "tools": [LOOK]}]


def _order(rng: Random, mix: Mix, name: str, hook: str) -> Order:
    is_batch = rng.random() < mix.batches
    bodies = [_body(rng, mix, f"{name}.{item}", hook) for item in range(BATCH if is_batch else 1)]
    order = Order(f"chaos {name}", bodies)
    if not is_batch and rng.random() < mix.cancels:
        order.cancel_after_s = rng.uniform(0, 4)
    return order


def _body(rng: Random, mix: Mix, name: str, hook: str) -> dict[str, Any]:
    body: dict[str, Any] = dict(_target(rng, mix))
    told = [directive for directive, share in mix.directives.items() if rng.random() < share]
    body["input"] = " ".join([f"Case {name}: say what you know of it.", *told])
    body["metadata"] = {"case": name}
    if rng.random() < mix.webhooks:
        manner = rng.choices(list(mix.manners), list(mix.manners.values()))[0]
        body["webhook_url"] = hook.format(host=receiver.HOSTS[manner], manner=manner)
    return body | dict(mix.fields)


def _target(rng: Random, mix: Mix) -> Iterator[tuple[str, Any]]:
    drawn = rng.random()
    if drawn < mix.agents + mix.agents_retry:
        yield "agent", AGENT
        if drawn >= mix.agents:
            yield "on_unknown_create", "retry"
        return
    yield "model", rng.choice(MODELS)
    if drawn < mix.agents + mix.agents_retry + mix.models_fail:
        yield "on_unknown_create", "fail"
