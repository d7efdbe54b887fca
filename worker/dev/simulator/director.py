"""Makes a record of an accepted create: resolves its script from directives, options and prompt. Does no I/O."""

from base64 import urlsafe_b64encode
from dataclasses import dataclass
from os import urandom
from typing import Any

from worker.dev.simulator import directives, play
from worker.dev.simulator.dice import Dice
from worker.dev.simulator.options import Options
from worker.dev.simulator.prompt import Step, prompt_hash, steps_of, words_of
from worker.dev.simulator.record import Record
from worker.dev.simulator.script import STUCK_S, Script


@dataclass(frozen=True, slots=True, kw_only=True)
class Commission:
    """An accepted create: its body, the conversation that it continues and its number."""

    body: dict[str, Any]
    past: list[Step]
    rest: str | None
    """What a continuation has still to say."""
    number: int
    now: float


def record_for(commission: Commission, options: Options) -> Record:
    """Return the record of a new interaction."""
    body = commission.body
    steps = steps_of(body["input"]) if "input" in body else []
    words = words_of(steps)
    asked = directives.read(words)
    record = Record(
        id=f"v1_Chd{urlsafe_b64encode(urandom(45)).decode()}",
        created_s=commission.now,
        request=body,
        steps=steps,
        past=commission.past,
        script=_script(asked.script | _continued(commission.rest), body, commission.number, options),
        prompt_hash=prompt_hash(words),
        rules=[rule for rule in asked.rules_at(commission.now) if rule.call != "create"],
    )
    if "status" not in asked.script:
        record.script = play.natural_end(record, options.seed)
    return record


def _continued(rest: str | None) -> dict[str, str]:
    return {} if rest is None else {"text": rest}


def _script(asked: dict[str, Any], body: dict[str, Any], number: int, options: Options) -> Script:
    speed = max(options.speed, 1e-9)
    duration_s = asked.get("duration_s")
    if duration_s is None:
        usual_s = options.agent_s if "agent" in body else options.model_s
        duration_s = usual_s * (1 + options.jitter * (2 * Dice(options.seed, number).fraction() - 1))
    values = asked | {
        "duration_s": duration_s / speed,
        "queued_s": asked.get("queued_s", 0.0) / speed,
        "usage_late_s": asked.get("usage_late_s", 0.0) / speed,
        "cancel_lag_s": options.cancel_lag_s / speed,
    }
    if values.get("status") == "stuck":
        values |= {"status": "completed", "duration_s": STUCK_S, "silent": True}
    return Script(**values)
