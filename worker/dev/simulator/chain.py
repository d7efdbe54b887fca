"""Resolves `previous_interaction_id`: what was said before, which function calls the new interaction must answer."""

from typing import Any

from worker.dev.simulator import play
from worker.dev.simulator.prompt import Step, results_of, steps_of
from worker.dev.simulator.record import ENDED, Record
from worker.dev.simulator.refusal import invalid
from worker.dev.simulator.store import Store

_SPOKEN = frozenset({"user_input", "model_output", "function_call", "function_result"})


def past_of(body: dict[str, Any], store: Store, now: float, seed: int) -> list[Step]:
    """Return the conversation that the create goes on with; raises Refusal if it cannot."""
    steps = steps_of(body["input"]) if "input" in body else []
    results = results_of(steps)
    previous_id = body.get("previous_interaction_id")
    if previous_id is None:
        known = {step.get("id") for step in steps if step["type"] == "function_call"}
        _check_results(set(results), known)
        return []
    previous = store.find(previous_id)
    status = previous.status(now)
    if status not in ENDED:
        message = f"The interaction '{previous_id[:100]}' is still {status}; wait until it has ended."
        raise invalid(message, "failed_precondition")
    output = play.finish(previous, seed).output if status not in ("failed", "cancelled") else []
    _check_results(set(results), {step["id"] for step in output if step["type"] == "function_call"})
    _check_token(body, previous, status)
    return [spoken for step in [*previous.past, *previous.steps, *output] if (spoken := _spoken(step)) is not None]


def rest_of(body: dict[str, Any], store: Store, seed: int) -> str | None:
    """Return what a continuation has still to say, or None if the create is none."""
    if "continuation_token" not in body:
        return None
    return play.rest(store.find(body["previous_interaction_id"]), seed)


def _check_results(given: set[str], owed: set[Any]) -> None:
    if given - owed:
        raise invalid(f"No open function call has the id '{min(given - owed)[:100]}'.")
    if owed - given:
        raise invalid("A function_result is required for every open function call.")


def _check_token(body: dict[str, Any], previous: Record, status: str) -> None:
    if "continuation_token" not in body:
        return
    if status != "requires_continuation" or body["continuation_token"] != play.token_of(previous):
        raise invalid("The value of 'continuation_token' is not valid for the previous interaction.")


def _spoken(step: Step) -> Step | None:
    if step["type"] not in _SPOKEN:
        return None
    if "content" not in step:
        return step
    return {**step, "content": [part for part in step["content"] or [] if part.get("type") == "text"]}
