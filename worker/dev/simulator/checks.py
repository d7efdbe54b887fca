"""Refuses the creates that the real API refuses, with its codes. Looks at the request, never at other interactions."""

from collections.abc import Iterable
from typing import Any

from worker.dev.simulator import catalog
from worker.dev.simulator.prompt import media_of, steps_of
from worker.dev.simulator.refusal import invalid

Body = dict[str, Any]


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


FIELDS: dict[str, type | tuple[type, ...]] = {
    "model": str,
    "agent": str,
    "agent_config": dict,
    "input": (str, list, dict),
    "background": bool,
    "store": bool,
    "stream": bool,
    "previous_interaction_id": str,
    "system_instruction": str,
    "tools": list,
    "generation_config": dict,
    "response_format": (dict, list),
    "response_mime_type": str,
    "response_modalities": list,
    "cached_content": str,
    "safety_settings": list,
    "labels": dict,
    "service_tier": str,
    "environment": (str, dict),
    "webhook_config": dict,
    "continuation_token": str,
}
TOOLS = _names(
    """function google_search code_execution url_context file_search google_maps computer_use mcp_server retrieval
    tool_search"""
)
GENERATION = _names(
    """max_output_tokens seed stop_sequences thinking_level thinking_summaries tool_choice speech_config
    transcription_config video_config temperature top_p image_config"""
)
LEVELS = ("minimal", "low", "medium", "high", "xhigh")
TIERS = ("flex", "standard", "priority", "deferred")
AGENT_CONFIGS = ("deep-research", "antigravity", "code-mender", "dynamic")


def check_create(body: Any, version: str, custom_agents: tuple[str, ...]) -> None:
    """Raise Refusal for a create body that the API would not accept."""
    if not isinstance(body, dict):
        raise invalid("The request body must be a JSON object.")
    _check_fields(body)
    if ("model" in body) == ("agent" in body):
        raise invalid("Exactly one of 'model' and 'agent' must be set.")
    if "agent" in body:
        catalog.check_agent(body["agent"], version, custom_agents)
        _check_agent(body)
    else:
        catalog.check_model(body["model"], version)
        _check_model(body)
    _check_input(body)
    _check_storage(body)
    _check_tools(body.get("tools") or [])
    _check_labels(body.get("labels") or {})
    _check_format(body.get("response_format") or [])
    if body.get("service_tier", "standard") not in TIERS:
        raise _unsupported(body["service_tier"], "service_tier")


def _check_fields(body: Body) -> None:
    for name, value in body.items():
        if name not in FIELDS:
            raise invalid(f"Unknown parameter '{name}'.", "parameter_unknown")
        if value is not None and not isinstance(value, FIELDS[name]):
            raise invalid(f"The type of the value for '{name}' is not supported.")
    for name in [name for name, value in body.items() if value is None]:
        del body[name]


def _check_model(body: Body) -> None:
    if "agent_config" in body:
        raise invalid("'agent_config' is not supported with 'model'.")
    config = body.get("generation_config") or {}
    for name in config:
        if name not in GENERATION:
            raise invalid(f"Unknown parameter '{name}' at 'generation_config'.", "parameter_unknown")
    if config.get("thinking_level", "low") not in LEVELS:
        raise _unsupported(config["thinking_level"], "generation_config.thinking_level")
    limit = config.get("max_output_tokens", 1)
    if not isinstance(limit, int) or limit < 1:
        raise invalid("'max_output_tokens' at 'generation_config' must be a positive integer.")


def _check_agent(body: Body) -> None:
    if "generation_config" in body:
        raise invalid("'generation_config' is not supported with 'agent'.")
    config = body.get("agent_config") or {}
    if config and config.get("type") not in AGENT_CONFIGS:
        raise _unsupported(config.get("type"), "agent_config.type")
    agent = body["agent"]
    if agent in catalog.RESEARCH:
        _check_research(body)
    elif agent in catalog.ANTIGRAVITY:
        _check_antigravity(body)


def _check_research(body: Body) -> None:
    if body.get("background") is not True:
        raise invalid("Agents are required to use background=true.")
    for name in ("system_instruction", "response_format", "response_mime_type"):
        if name in body:
            raise invalid(f"'{name}' is not supported by Deep Research.")
    _refuse_tools(body, {"function", "computer_use", "google_maps", "retrieval", "tool_search"}, "Deep Research")


def _check_antigravity(body: Body) -> None:
    if "environment" not in body:
        raise invalid("'environment' is required by this agent.")
    for name in ("response_format", "response_mime_type"):
        if name in body:
            raise invalid(f"'{name}' is not supported by this agent.")
    _refuse_tools(body, {"file_search", "computer_use", "google_maps"}, "this agent")
    tools = [tool for tool in body.get("tools") or [] if isinstance(tool, dict)]
    if body.get("store") is False and any(tool.get("type") == "function" for tool in tools):
        raise invalid("Function calling with this agent requires 'store'.")
    for server in (tool for tool in tools if tool.get("type") == "mcp_server"):
        if str(server.get("name", "")) != str(server.get("name", "")).lower():
            raise invalid("The names of MCP servers must be lower case.")
    if "input" in body:
        media = set(media_of(steps_of(body["input"]))) & {"audio", "video", "document"}
        if media:
            raise invalid(f"Input of type '{min(media)}' is not supported by this agent.")


def _refuse_tools(body: Body, refused: set[str], who: str) -> None:
    for index, tool in enumerate(body.get("tools") or []):
        if isinstance(tool, dict) and tool.get("type") in refused:
            raise invalid(f"The tool '{tool['type']}' at 'tools[{index}]' is not supported by {who}.")


def _check_input(body: Body) -> None:
    if "continuation_token" in body:
        if "input" in body:
            raise invalid("'input' must not be set together with 'continuation_token'.")
        if "previous_interaction_id" not in body:
            raise invalid("'continuation_token' requires 'previous_interaction_id'.")
        return
    if body.get("input") in (None, "", [], {}):
        raise invalid("'input' is required.")
    steps_of(body["input"])


def _check_storage(body: Body) -> None:
    if body.get("store") is False:
        for name in ("background", "previous_interaction_id"):
            if body.get(name):
                raise invalid(f"'store' must be true when '{name}' is set.")
    webhook = body.get("webhook_config")
    if webhook is None:
        return
    if body.get("background") is not True:
        raise invalid("'webhook_config' requires background=true.")
    uris = webhook.get("uris", [])
    if not isinstance(uris, list) or not all(isinstance(uri, str) and "://" in uri for uri in uris):
        raise invalid("The value of 'webhook_config.uris' must be a list of URLs.")


def _check_tools(tools: list[Any]) -> None:
    for index, tool in enumerate(tools):
        kind = tool.get("type") if isinstance(tool, dict) else None
        if kind not in TOOLS:
            raise _unsupported(kind, "type", f" at 'tools[{index}]'")
        if kind == "function" and not tool.get("name"):
            raise invalid(f"'name' is required at 'tools[{index}]'.")


def _check_labels(labels: Body) -> None:
    if len(labels) > 64:
        raise invalid("At most 64 labels are allowed.")
    for key, value in labels.items():
        if not isinstance(value, str) or not _is_label(key) or not _is_label(value) or not key[:1].isalpha():
            raise invalid(
                "Label keys and values can be no longer than 63 characters and can only contain lowercase letters, "
                "numeric characters, underscores, and dashes. Label keys must start with a letter."
            )


def _is_label(text: str) -> bool:
    return len(text) <= 63 and all(_is_label_character(character) for character in text)


def _is_label_character(character: str) -> bool:
    return character in "_-" or character.isnumeric() or (character.isalpha() and character == character.lower())


def _check_format(formats: Any) -> None:
    for item in formats if isinstance(formats, list) else [formats]:
        if not isinstance(item, dict) or item.get("type") not in ("text", "image", "audio", "video"):
            raise _unsupported(item.get("type") if isinstance(item, dict) else item, "response_format.type")
        if "schema" in item and (item["type"] != "text" or item.get("mime_type") != "application/json"):
            raise invalid("'schema' at 'response_format' requires type 'text' and mime_type 'application/json'.")


def _unsupported(value: Any, name: str, where: str = "") -> Exception:
    known: Iterable[str] = {"service_tier": TIERS, "type": sorted(TOOLS)}.get(name, ())
    hint = f" Supported values: {', '.join(known)}." if known else ""
    return invalid(f"The value '{value}' is not supported for '{name}'{where}.{hint}")
