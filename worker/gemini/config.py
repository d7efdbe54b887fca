"""What the API refuses in `generation_config`, `response_format` and `environment` although the SDK's types do not.

Pure: no value is echoed. A parameter that is not known here goes through, unless it is a known one misspelt.
"""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from itertools import islice
from typing import Any

from worker.errors import Fault, pointer_to
from worker.gemini.keywords import of_schema
from worker.gemini.schema import TYPES
from worker.gemini.shapes import plain, type_of

Path = list[str | int]

GENERATION = frozenset(
    {
        "image_config",
        "max_output_tokens",
        "seed",
        "speech_config",
        "stop_sequences",
        "temperature",
        "thinking_level",
        "thinking_summaries",
        "tool_choice",
        "top_p",
        "transcription_config",
        "video_config",
    }
)
LEVELS = ("minimal", "low", "medium", "high", "xhigh")
SUMMARIES = ("auto", "none")
CHOICES = ("auto", "any", "none", "validated")
FORMATS = frozenset({"text", "image", "audio", "video"})
JSON = "application/json"
LOOKED_AT = 100
"""How many names are held against those they may be misspelt from: that takes its time."""


def of_generation(fields: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield what is wrong with `generation_config`."""
    config = fields.get("generation_config")
    if not isinstance(config, Mapping):
        return
    at = "generation_config"
    for name in islice(config, LOOKED_AT):
        meant = _meant(name)
        if meant is not None:
            yield Fault(pointer_to([at, name[:80]]), f"unknown field; did you mean {meant}?")
    for name, words in (("thinking_level", LEVELS), ("thinking_summaries", SUMMARIES)):
        yield from _word(config.get(name), words, [at, name])
    choice = config.get("tool_choice")
    if isinstance(choice, Mapping):
        allowed = choice.get("allowed_tools")
        mode = allowed.get("mode") if isinstance(allowed, Mapping) else None
        yield from _word(mode, CHOICES, [at, "tool_choice", "allowed_tools", "mode"])
    else:
        yield from _word(choice, CHOICES, [at, "tool_choice"])
    limit = config.get("max_output_tokens")
    if isinstance(limit, int) and limit < 1:
        yield Fault(f"/{at}/max_output_tokens", "must be 1 or more")


def of_format(fields: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield what is wrong with `response_format`: a format, a bare JSON schema, or a list of them."""
    formats = fields.get("response_format")
    for index, item in enumerate(formats if isinstance(formats, list) else [formats]):
        path: Path = ["response_format", *([index] if isinstance(formats, list) else [])]
        if not isinstance(item, Mapping):
            continue
        kind = type_of(item)
        if kind in FORMATS:
            yield from _schema(item, path)
        elif "type" in item and not (kind is not None and kind.lower() in TYPES) and not isinstance(item["type"], list):
            known = f"{', '.join(sorted(FORMATS))}, or a JSON schema's own"
            yield Fault(pointer_to([*path, "type"]), f"must be one of {known}")
        else:
            yield from of_schema(item, path)


def of_environment(fields: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield what is wrong with `environment`."""
    environment = fields.get("environment")
    if isinstance(environment, str) and not environment.strip():
        yield Fault("/environment", "must be 'remote', an environment's id, or an object")
    for name in environment if isinstance(environment, Mapping) else ():
        if plain(name) == "environment_id" != name:
            yield Fault(pointer_to(["environment", name[:80]]), "unknown field; did you mean environment_id?")


def _schema(item: Mapping[str, Any], path: Path) -> Iterator[Fault]:
    if item.get("schema") is None:
        return
    if item["type"] != "text":
        yield Fault(pointer_to([*path, "schema"]), "goes with type 'text' only")
    elif item.get("mime_type") != JSON:
        yield Fault(pointer_to([*path, "mime_type"]), f"must be '{JSON}' where there is a schema")
    elif isinstance(item["schema"], Mapping):
        yield from of_schema(item["schema"], [*path, "schema"])


def _word(value: Any, words: tuple[str, ...], path: Path) -> Iterator[Fault]:
    if isinstance(value, str) and value not in words:
        yield Fault(pointer_to(path), f"must be one of {', '.join(words)}")


def _meant(name: str) -> str | None:
    """The known parameter that an unknown one must be: written in camel case, or misspelt."""
    if name in GENERATION:
        return None
    return next(iter(get_close_matches(plain(name), GENERATION, n=1, cutoff=0.85)), None)
