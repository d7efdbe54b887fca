"""What agents refuse, family by family: an agent's run costs dollars and minutes, so these are told at submission.

Pure: fields in, faults out, no values echoed. Own agents, whose family nobody here knows, are left to the API.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from worker.errors import Fault, pointer_to
from worker.gemini.shapes import type_of, types_of

Fields = Mapping[str, Any]

ANTIGRAVITY_REFUSES = frozenset({"file_search", "computer_use", "google_maps"})
ANTIGRAVITY_SETS_ITSELF = ("temperature", "top_p", "top_k", "stop_sequences", "max_output_tokens")
RESEARCH_TAKES = frozenset({"google_search", "url_context", "code_execution", "file_search", "mcp_server"})
FAMILIES = ("deep-research", "antigravity", "code-mender")
PREPENDED = "the system instruction was put at the beginning of the input"


def prepended(fields: Fields) -> dict[str, Any] | None:
    """Return a create whose system instruction is the beginning of its input; None where its agent may have one."""
    instruction, value = fields.get("system_instruction"), fields.get("input")
    if (
        _family(fields) != "deep-research"
        or not isinstance(instruction, str)
        or not isinstance(value, (str, list, dict))
    ):
        return None
    rest = {name: given for name, given in fields.items() if name != "system_instruction"}
    return rest | {"input": _after(instruction, value)}


def _after(instruction: str, value: Any) -> Any:
    if isinstance(value, str):
        return f"{instruction}\n\n{value}"
    text, items = {"type": "text", "text": instruction}, value if isinstance(value, list) else [value]
    if {type_of(item) for item in items} <= types_of("Content"):
        return [text, *items]
    return [{"type": "user_input", "content": [text]}, *items]


def _kinds_apart(fields: Fields) -> Iterator[Fault]:
    if "agent" in fields and "generation_config" in fields:
        yield Fault("/generation_config", "an agent takes no generation_config: use agent_config")
    if "model" in fields and "agent_config" in fields:
        yield Fault("/agent_config", "a model takes no agent_config: use generation_config")
    config, family = fields.get("agent_config"), _family(fields)
    if family and isinstance(config, Mapping) and type_of(config) not in (family, "dynamic", None):
        yield Fault("/agent_config/type", f"must be '{family}' for this agent")


def _family(fields: Fields) -> str | None:
    agent = fields.get("agent")
    return next((family for family in FAMILIES if isinstance(agent, str) and agent.startswith(family)), None)


def _deep_research(fields: Fields) -> Iterator[Fault]:
    if _family(fields) != "deep-research":
        return
    if "system_instruction" in fields:
        way_out = "put it at the beginning of input, or set prepend_system_instruction to true and it will be"
        yield Fault("/system_instruction", f"Deep Research takes none: {way_out}")
    if "response_format" in fields:
        yield Fault("/response_format", "Deep Research has no structured output: describe the form in input")
    yield from _refused_tools(fields, frozenset({"function"}), "Deep Research runs no functions; an mcp_server works")
    others = types_of("Tool") - RESEARCH_TAKES - {"function"}
    yield from _refused_tools(fields, others, f"Deep Research takes only {', '.join(sorted(RESEARCH_TAKES))}")


def _antigravity(fields: Fields) -> Iterator[Fault]:
    if _family(fields) != "antigravity":
        return
    if "environment" not in fields:
        yield Fault("/environment", "Antigravity needs one: 'remote', or the environment_id of an earlier job")
    if "response_format" in fields:
        yield Fault("/response_format", "Antigravity has no structured output: describe the form in input")
    config = fields.get("agent_config")
    for setting in ANTIGRAVITY_SETS_ITSELF:
        if isinstance(config, Mapping) and setting in config:
            yield Fault(f"/agent_config/{setting}", "Antigravity takes none; max_total_tokens limits a run")
    yield from _refused_tools(fields, ANTIGRAVITY_REFUSES, "Antigravity does not take this tool")
    tools = fields.get("tools")
    for index, tool in enumerate(tools if isinstance(tools, list) else ()):
        name = tool.get("name") if type_of(tool) == "mcp_server" else None
        if isinstance(name, str) and name != name.lower():
            yield Fault(f"/tools/{index}/name", "must be lower case for Antigravity")
    for path, kind in _media(fields.get("input")):
        if kind in ("audio", "video", "document"):
            yield Fault(pointer_to(path), f"Antigravity takes no {kind} input")


def _refused_tools(fields: Fields, kinds: frozenset[str], reason: str) -> Iterator[Fault]:
    tools = fields.get("tools")
    for index, tool in enumerate(tools if isinstance(tools, list) else ()):
        if type_of(tool) in kinds:
            yield Fault(f"/tools/{index}", reason)


def _media(value: Any) -> Iterator[tuple[list[str | int], str | None]]:
    """Yield path and type of every content of the input."""
    if isinstance(value, Mapping):
        yield ["input"], type_of(value)
    for index, item in enumerate(value if isinstance(value, list) else ()):
        yield ["input", index], type_of(item)
        inner = item.get("content") if isinstance(item, Mapping) else None
        for place, content in enumerate(inner if isinstance(inner, list) else ()):
            yield ["input", index, "content", place], type_of(content)


RULES: tuple[Callable[[Fields], Iterator[Fault]], ...] = (_kinds_apart, _deep_research, _antigravity)
