"""Reads the final body of an interaction into what a job keeps of it: text, citations, media, calls, errors, usage.

Pure, and tolerant of anything: unknown steps, missing fields, wrong types. What a job becomes is decided elsewhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from worker.errors import ResultTooLarge
from worker.gemini import clean, schema
from worker.gemini.citations import Citation
from worker.gemini.failure import Failure, classify_failure, errors_of
from worker.gemini.media import Link, Media, is_inline, links_in, take_media
from worker.gemini.output import contents_of, final_steps, write_output

__all__ = [
    "Citation",
    "Failure",
    "FunctionCall",
    "Link",
    "Media",
    "Outcome",
    "UnreadableBodyError",
    "classify_failure",
    "linked",
    "read_outcome",
]


MAX_CALLS, MAX_CALLS_BYTES = 1000, 4 * 1024 * 1024
"""How many calls a job may wait for, and how long they may be: they are part of its row."""

CALLS = {"function_call": "", "tool_search_call": "tool_search"}
"""Steps that may wait for a result of the client's, and what a call is named that has no name of its own."""

RESULTS = frozenset({"function_result", "tool_search_result"})


class UnreadableBodyError(ValueError):
    """The body is not a JSON object."""


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """A call that waits for its result."""

    id: str
    name: str
    arguments: Any = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What an ended interaction holds. `raw` is the body as it came, without the bytes of its media."""

    status: str | None
    output_text: str | None = field(repr=False)
    """Markdown; None without any text. Media in it are `![image](artifact:N)`."""
    output_json: Any = field(repr=False)
    citations: tuple[Citation, ...] = field(repr=False)
    usage: dict[str, Any] | None
    errors: tuple[dict[str, str | None], ...] = field(repr=False)
    """Each with `code` and `message`, in the API's own words."""
    function_calls: tuple[FunctionCall, ...]
    media: tuple[Media, ...]
    links: tuple[Link, ...]
    """Media of the output that are named instead of sent."""
    raw: dict[str, Any] = field(repr=False)
    continuation_token: str | None = field(repr=False)
    environment_id: str | None
    notes: tuple[str, ...]
    has_output: bool
    """Whether there is any text or media; thoughts and tool results alone are none."""


def read_outcome(
    body: bytes | dict[str, Any],
    *,
    max_bytes: int,
    wants_json: bool = False,
    schemas: Sequence[Mapping[str, Any]] = (),
) -> Outcome:
    """Return what the final body holds; a dict is taken over and altered. JSON is to fit one of the `schemas`.

    Raises ResultTooLarge when the body without its media is over `max_bytes`, or the calls to answer are too many or
    too long; UnreadableBodyError for no JSON object.
    """
    root = _parsed(body)
    was_cut = clean.tidy(root, has_nul=not isinstance(body, bytes) or b"\\u0000" in body or b"\0" in body)
    steps = _steps(root)
    last = final_steps(steps)
    media, notes = take_media(root, [item for step in last for item in contents_of(step) if is_inline(item)])
    if (not isinstance(body, bytes) or len(body) > max_bytes) and len(orjson.dumps(root)) > max_bytes:
        raise ResultTooLarge(f"the result is over {max_bytes} bytes without its media")
    calls = _open_calls(steps)
    if root.get("status") == "requires_action":
        _bound(calls)
    output = write_output(last)
    parsed, faults = _json(output.runs, schemas) if wants_json else (None, [])
    return Outcome(
        status=_text(root.get("status")),
        output_text=output.text or None,
        output_json=parsed,
        citations=output.citations,
        usage=root["usage"] if isinstance(root.get("usage"), dict) else None,
        errors=errors_of(root, steps),
        function_calls=calls,
        media=tuple(media),
        links=links_in(item for step in last for item in contents_of(step)),
        raw=root,
        continuation_token=_text(root.get("continuation_token")),
        environment_id=_text(root.get("environment_id")),
        notes=(*notes, *faults, *(["the result was cut where it is nested too deep"] if was_cut else [])),
        has_output=bool(output.text.strip()) or output.has_media,
    )


def linked(outcome: Outcome, numbers: Mapping[str, int], notes: Sequence[str] = ()) -> Outcome:
    """Return the outcome with these URIs known as artifacts of these numbers; its raw body stays as it is."""
    output = write_output(final_steps(_steps(outcome.raw)), numbers)
    text = output.text or None
    return replace(outcome, output_text=text, citations=output.citations, notes=(*outcome.notes, *notes))


def _parsed(body: bytes | dict[str, Any]) -> dict[str, Any]:
    try:
        value = clean.parse(body) if isinstance(body, bytes) else body
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise UnreadableBodyError("the body is not a JSON object")
    return value


def _steps(root: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the steps; the `outputs` of the older schema, which some models still answer with, count as one."""
    steps, outputs = root.get("steps"), root.get("outputs")
    if isinstance(steps, list) and steps:
        return [step for step in steps if isinstance(step, dict)]
    return [{"type": "model_output", "content": outputs}] if isinstance(outputs, list) else []


def _json(runs: tuple[str, ...], schemas: Sequence[Mapping[str, Any]]) -> tuple[Any, list[str]]:
    """Return the parsed output (of all text if that is JSON, else of its last run), and notes of what is wrong."""
    for text in ("".join(runs), *runs[-1:]):
        try:
            found = {"value": orjson.loads(text)}
        except orjson.JSONDecodeError:
            continue
        clean.tidy(found, has_nul=True)
        return found["value"], _mismatch(found["value"], schemas)
    return None, ["output_json is null: the output is not the JSON that was asked for"] if runs else []


def _mismatch(value: Any, schemas: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a note if the value fits none of the schemas, or if that cannot be told."""
    told: list[str] = []
    for asked in schemas:
        try:
            places = schema.mismatches(asked, value)
        except schema.UncheckableError as error:
            told.append(f"output_json was not checked against its schema: {error}")
            continue
        if not places:
            return []
        told.append(f"output_json does not match the schema that was asked for at {', '.join(places)}")
    return told[:1]


def _open_calls(steps: list[dict[str, Any]]) -> tuple[FunctionCall, ...]:
    """Return the calls that no later result answers: an id may come again, in another turn."""
    calls: dict[str, FunctionCall] = {}
    for step in steps:
        kind, name = _text(step.get("type")), _text(step.get("id"))
        if kind in RESULTS:
            calls.pop(_text(step.get("call_id")) or "", None)
        elif kind in CALLS and name:
            calls[name] = FunctionCall(name, _text(step.get("name")) or CALLS[kind], step.get("arguments"))
    return tuple(calls.values())


def _bound(calls: tuple[FunctionCall, ...]) -> None:
    if len(calls) > MAX_CALLS:
        raise ResultTooLarge(f"more than {MAX_CALLS} function calls wait for their results")
    if len(orjson.dumps([(call.id, call.name, call.arguments) for call in calls])) > MAX_CALLS_BYTES:
        raise ResultTooLarge(f"the function calls that wait for their results are over {MAX_CALLS_BYTES} bytes")


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
