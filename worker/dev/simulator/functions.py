"""Function calling: which declared functions a model calls for a prompt, and with which arguments."""

from typing import Any

from worker.dev.simulator.dice import Dice
from worker.dev.simulator.instance import Maker
from worker.dev.simulator.prompt import Step, question_of
from worker.dev.simulator.record import Record
from worker.dev.simulator.tools import COMPUTER
from worker.dev.simulator.words import keywords_of, names_of

_GENERIC_WORDS = "get set find look fetch list show call make current create check search query data info"
_GENERIC = frozenset(_GENERIC_WORDS.split())
_FALLBACK = {"type": "function", "name": "simulated_function", "parameters": {"type": "object"}}


def wanted(record: Record) -> list[dict[str, Any]]:
    """Return the functions that the run calls, one for each call; usually none."""
    given = record.request.get("tools") or []
    declared = [tool for tool in given if tool.get("type") == "function"]
    declared += [COMPUTER for tool in given if tool.get("type") == "computer_use"]
    asked, is_owed = record.script.calls, record.script.status == "requires_action"
    if is_owed and not declared:
        declared, asked = [_FALLBACK], max(1, asked)
    if not declared:
        return []
    if asked:
        return [declared[i % len(declared)] for i in range(asked)]
    question = question_of(record.steps)
    choice = (record.request.get("generation_config") or {}).get("tool_choice", "auto")
    if not is_owed and (not question or choice == "none"):
        return []
    chosen = [tool for tool in declared if _is_meant(str(tool["name"]), question)]
    if not chosen and (choice == "any" or is_owed):
        return declared[:1]
    return chosen


def calls(record: Record, seed: int) -> list[Step]:
    """Return the function_call steps of the run."""
    question = question_of(record.steps)
    names = names_of(question) or keywords_of(question)
    steps: list[Step] = []
    for number, tool in enumerate(wanted(record)):
        dice = Dice(seed, question, tool["name"], number)
        schema = tool.get("parameters")
        properties = schema if isinstance(schema, dict) else {}
        turned = names[number:] + names[:number]
        arguments = Maker({"type": "object", **properties}, turned, dice).make()
        call_id = f"call_{Dice(record.id, number).bits():016x}"
        steps.append({"type": "function_call", "id": call_id, "name": tool["name"], "arguments": arguments})
    return steps


def _is_meant(name: str, question: str) -> bool:
    """Whether a prompt mentions a function, by its name or by a telling word of it."""
    text = question.lower()
    parts = name.lower().replace("-", "_").split("_")
    telling = [part for part in parts if len(part) > 3 and part not in _GENERIC]
    return name.lower() in text or any(part in text for part in telling)
