"""A create: checked at submission by the SDK's own types and by `rules`, built into the SDK's request at the start.

What is sent is what the user gave, untouched, plus `background` and `store`. Nothing is sent from here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from worker.errors import MAX_FAULTS, Fault, Invalid
from worker.gemini import rules, shapes
from worker.gemini.rules import FIELDS, PASSED_ON, RESERVED

__all__ = ["FIELDS", "PASSED_ON", "RESERVED", "CreateRequest", "build", "schemas_of", "validate", "wants_json"]


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """One create, ready for the SDK: its typed request, and the body that goes over the wire word for word."""

    typed: BaseModel = field(repr=False)
    payload: Mapping[str, Any] = field(repr=False)


def validate(fields: Mapping[str, Any]) -> None:
    """Refuse what the API would refuse; raises Invalid with one fault for each problem, up to 50."""
    given = {name: value for name, value in fields.items() if value is not None}
    faults = rules.too_complex(given)
    if not faults:
        faults = rules.faults_of(given)
        body = {name: value for name, value in given.items() if name in FIELDS and name != "extra_body"}
        # The SDK's types complain of everything at once: where enough is told, that is work for nothing.
        asked = body if len(faults) < MAX_FAULTS else {}
        faults += [fault for fault in shapes.faults_of(asked) if not _is_told(fault, faults)]
    if faults:
        raise Invalid(*faults[:MAX_FAULTS])


def build(body: Mapping[str, Any]) -> CreateRequest:
    """Return the SDK's request for a checked body, its `extra_body` merged in.

    The engine may add `continuation_token` and `webhook_config` to what `validate` has seen. The typed part holds the
    target and the two flags that the SDK reads; the whole body travels as the SDK's `extra_body`, which it sends
    unread: its types would drop nulls and rewrite some numbers.
    """
    from google.genai._gaos.models import CreateInteractionRequest  # noqa: PLC0415 - slow, and exported nowhere else

    for_model, for_agent = shapes.bodies()
    flags = {"background": True, "store": True}
    sent = {name: value for name, value in body.items() if value is not None and name not in ("extra_body", "stream")}
    payload = {**sent, **(body.get("extra_body") or {}), **flags}
    if "agent" in payload:
        typed = for_agent(agent=payload["agent"], **flags)
    elif "model" in payload:
        typed = for_model(model=payload["model"], **flags)
    else:
        raise Invalid(Fault("/model", "one of model and agent is required"))
    return CreateRequest(typed=CreateInteractionRequest(body=typed), payload=payload)


def wants_json(fields: Mapping[str, Any]) -> bool:
    """Whether `response_format` asks for JSON, so that the output text is to be parsed."""
    formats = fields.get("response_format")
    return any(map(_is_json, formats if isinstance(formats, list) else [formats]))


def schemas_of(fields: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the JSON schemas that `response_format` asks for: of text formats, or one that is a schema itself."""
    formats = fields.get("response_format")
    asked: list[Any] = [wanted for wanted in (formats if isinstance(formats, list) else [formats]) if _is_json(wanted)]
    found = [wanted.get("schema") if wanted.get("type") == "text" else wanted for wanted in asked]
    return [schema for schema in found if isinstance(schema, Mapping)]


def _is_json(wanted: Any) -> bool:
    if not isinstance(wanted, Mapping):
        return False
    if wanted.get("type") == "text":
        return "schema" in wanted or "json" in str(wanted.get("mime_type", ""))
    return bool(wanted) and wanted.get("type") not in ("audio", "image", "video")


def _is_told(fault: Fault, told: list[Fault]) -> bool:
    """Whether a rule has already spoken of this place, of a part of it or of the whole around it."""
    here = fault.pointer + "/"
    return any(here.startswith(other.pointer + "/") or other.pointer.startswith(here) for other in told)
