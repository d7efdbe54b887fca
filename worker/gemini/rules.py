"""What the API refuses although the SDK's types let it through: refused here, before anything is spent.

Pure: fields in, faults out, no values echoed. A field whose value is null counts as absent.
"""

import json
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

from worker.errors import MAX_FAULTS, Fault, pointer_to
from worker.gemini import agents
from worker.gemini.config import of_environment, of_format, of_generation
from worker.gemini.contents import of_input
from worker.gemini.shapes import plain
from worker.gemini.tools import of_tools

Fields = Mapping[str, Any]

FIELDS = frozenset(
    {
        "model",
        "agent",
        "input",
        "system_instruction",
        "tools",
        "generation_config",
        "response_format",
        "agent_config",
        "environment",
        "previous_interaction_id",
        "safety_settings",
        "service_tier",
        "labels",
        "extra_body",
    }
)
"""The interaction's fields of a job."""

RESERVED = frozenset({"background", "store", "stream", "webhook_config"})
"""Fields of the API that Nightdesk sets itself."""

PASSED_ON = frozenset({"cached_content", "response_mime_type", "response_modalities"})
"""Fields of the API that are on their way out: `extra_body` takes them."""

EXTRA_BODY_MAX_BYTES = 64 * 1024
MAX_DEPTH = 100
MAX_PARTS = 20_000
"""The SDK's types take up to 0.1 ms for each part: a hostile body would keep them busy for minutes."""
FREE_FORM = frozenset({"result", "parameters", "schema", "arguments"})
"""Objects that the SDK's types take as they are, whose parts do not count."""
LABELS_MAX = 64
SERVICE_TIERS = ("flex", "standard", "priority", "deferred")


def faults_of(fields: Fields) -> list[Fault]:
    """Return what these rules refuse in the interaction's fields, which must not be `too_complex`; up to 50 faults."""
    return list(islice((fault for rule in _RULES for fault in rule(fields)), MAX_FAULTS))


def too_complex(fields: Fields) -> list[Fault]:
    """Return a fault for each field that is nested too deep or has too many parts for these rules and the SDK."""
    faults = []
    for name, value in fields.items():
        if _is_deep(value):
            faults.append(Fault(pointer_to([name]), f"must not be nested deeper than {MAX_DEPTH} levels"))
        elif name != "extra_body" and _is_many(value):
            faults.append(Fault(pointer_to([name]), f"must not have more than {MAX_PARTS} parts"))
    return faults


def _names(fields: Fields) -> Iterator[Fault]:
    for name in sorted(fields.keys() - FIELDS - RESERVED):
        yield Fault(pointer_to([name]), "unknown field; parameters that are not listed go into extra_body")
    for name in ("background", "store"):
        if fields.get(name, True) is not True:
            reason = "a job runs in the background and its interaction is stored, or nothing could be fetched later"
            yield Fault(f"/{name}", f"must be true: {reason}")
    if fields.get("stream", False) is not False:
        yield Fault("/stream", "a job is not streamed by its create: follow GET /v1/jobs/{id}/events")
    if "webhook_config" in fields:
        yield Fault("/webhook_config", "not allowed: use webhook_url or a registered webhook")


def _target(fields: Fields) -> Iterator[Fault]:
    given = [kind for kind in ("model", "agent") if kind in fields]
    if not given:
        yield Fault("/model", "one of model and agent is required")
    elif len(given) == 2:
        yield Fault("/agent", "model and agent cannot both be given")
    for kind in given:
        value = fields[kind]
        if not isinstance(value, str) or not 0 < len(value) <= 256 or not value.isprintable() or " " in value:
            yield Fault(f"/{kind}", "must be an id: 1 to 256 characters without spaces")


def _previous(fields: Fields) -> Iterator[Fault]:
    value = fields.get("previous_interaction_id")
    if isinstance(value, str) and not 0 < len(value) <= 512:
        yield Fault("/previous_interaction_id", "must be an id of 1 to 512 characters")


def _service_tier(fields: Fields) -> Iterator[Fault]:
    if fields.get("service_tier", "standard") not in SERVICE_TIERS:
        yield Fault("/service_tier", f"must be one of {', '.join(SERVICE_TIERS)}")


def _labels(fields: Fields) -> Iterator[Fault]:
    labels = fields.get("labels")
    if not isinstance(labels, Mapping):
        return
    if len(labels) > LABELS_MAX:
        yield Fault("/labels", f"must not be more than {LABELS_MAX}")
        return
    for key, value in labels.items():
        if not 0 < len(key) <= 63 or not _is_label(key) or not _is_letter(key[0]):
            yield Fault(
                pointer_to(["labels", key[:80]]),
                "a key has 1 to 63 lower case letters, digits, _ and -, and starts with a letter",
            )
        elif isinstance(value, str) and (len(value) > 63 or not _is_label(value)):
            yield Fault(pointer_to(["labels", key]), "a value has up to 63 lower case letters, digits, _ and -")


def _is_label(text: str) -> bool:
    return all(char in "_-" or _is_letter(char) or unicodedata.category(char).startswith("N") for char in text)


def _is_letter(char: str) -> bool:
    return unicodedata.category(char) in ("Ll", "Lo")


def _extra_body(fields: Fields) -> Iterator[Fault]:
    extra = fields.get("extra_body")
    if extra is None:
        return
    if not isinstance(extra, Mapping):
        yield Fault("/extra_body", "must be an object")
        return
    text = json.dumps(extra, separators=(",", ":"), ensure_ascii=False)
    if len(text.encode("utf-8", "surrogatepass")) > EXTRA_BODY_MAX_BYTES:
        yield Fault("/extra_body", f"must not be longer than {EXTRA_BODY_MAX_BYTES} bytes")
        return
    for name in sorted(name for name in extra if plain(name) in FIELDS | RESERVED):
        yield Fault(pointer_to(["extra_body", name]), "has its own place in the job, or is set by Nightdesk")


def _is_deep(value: Any) -> bool:
    level, depth = [value], 0
    while level and depth < MAX_DEPTH:
        level = [child for item in level for child in _parts(item) if isinstance(child, (Mapping, list))]
        depth += 1
    return bool(level)


def _is_many(value: Any) -> bool:
    stack, count = [value], 0
    while stack and count <= MAX_PARTS:
        parts = _parts(stack.pop(), without=FREE_FORM)
        count += len(parts)
        stack += parts
    return count > MAX_PARTS


def _parts(value: Any, without: frozenset[str] = frozenset()) -> list[Any]:
    """Return the items of a list, the objects and lists of an object."""
    if isinstance(value, list):
        return value
    inner = value.items() if isinstance(value, Mapping) else ()
    return [
        child
        for name, child in inner
        if isinstance(child, list) or (isinstance(child, Mapping) and name not in without)
    ]


_RULES: tuple[Callable[[Fields], Iterator[Fault]], ...] = (
    _names,
    _target,
    of_input,
    _previous,
    of_tools,
    of_generation,
    of_format,
    of_environment,
    _labels,
    _service_tier,
    _extra_body,
    *agents.RULES,
)
