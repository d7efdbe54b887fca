"""What a run brings forth: working steps along the way, an output, usage, a natural end.

Pure functions of a record and a seed; nothing is stored: whoever asks twice gets the same twice.
"""

from base64 import b64encode
from dataclasses import dataclass, replace
from typing import Any

from worker.dev.simulator import beat, chat, functions, media, report, research, sandbox, tools
from worker.dev.simulator.beat import Beat
from worker.dev.simulator.catalog import medium_of
from worker.dev.simulator.dice import Dice
from worker.dev.simulator.prompt import Step, media_of, question_of, words_of
from worker.dev.simulator.record import Record
from worker.dev.simulator.script import Script
from worker.dev.simulator.words import keywords_of, tokens_of

_MEDIA_TOKENS = 258
RESEARCHING, WORKING = frozenset({"google_search", "url_context"}), frozenset({"code_execution"})
"""Tools that are at work on the way to the output."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The steps that the end of a run brings, and what the whole run cost."""

    output: list[Step]
    usage: dict[str, Any]


def pace(record: Record) -> tuple[float, ...]:
    """Return the moments (0 to 1) at which working steps appear, without making the steps."""
    if record.is_research:
        return beat.pace(research.step_count(record))
    return beat.pace(sandbox.STEPS) if record.is_agent else ()


def working(record: Record, seed: int) -> list[Beat]:
    """Return the steps on the way to the output; models show none."""
    if record.is_research:
        return beat.paced(research.steps(record, seed))
    return beat.paced(sandbox.steps(record, seed)) if record.is_agent else []


def finish(record: Record, seed: int) -> Outcome:
    """Return what the end of the run brings, whole or cut short as its status says."""
    status = record.script.status
    output = functions.calls(record, seed) if status == "requires_action" else _output(record, seed)
    if status in ("incomplete", "budget_exceeded", "requires_continuation"):
        output = _cut(output, _limit_of(record))
    return Outcome(output, _usage(record, output))


def rest(record: Record, seed: int) -> str:
    """Return the text that a run which requires a continuation has still to say."""
    whole, said = _text_of(_output(record, seed)), _text_of(finish(record, seed).output)
    return whole.removeprefix(said)


def natural_end(record: Record, seed: int) -> Script:
    """Return the script with the end that the request itself leads to: function calls, a token limit, or completion."""
    if functions.wanted(record):
        return replace(record.script, status="requires_action")
    limit = _limit_of(record)
    if limit is not None and tokens_of(_text_of(_output(record, seed))) > limit:
        return replace(record.script, status="incomplete")
    return record.script


def token_of(record: Record) -> str:
    """Return the continuation token of a run."""
    return b64encode(f"continue:{record.id[-24:]}".encode()).decode()


def environment_of(record: Record) -> str:
    """Return the id of the environment that a run works in."""
    return sandbox.environment_of(record)


def _output(record: Record, seed: int) -> list[Step]:
    if record.is_research:
        return [*tools.played(record, seed, without=RESEARCHING), *research.result(record, seed)]
    if record.is_agent:
        return [*tools.played(record, seed, without=WORKING), *sandbox.result(record, seed)]
    question = question_of(record.steps)
    dice = Dice(seed, "model", question)
    medium = medium_of(record.target)
    if medium != "text" and record.script.text is None:
        count = 1 if record.script.images is None else record.script.images
        if _is_by_uri(record):
            return [beat.output(*(media.by_uri(medium, f"{record.id[-12:]}-{n}", seed) for n in range(count)))]
        return [beat.output(*(media.MAKERS[medium](dice) for _ in range(count)))]
    config = record.request.get("generation_config") or {}
    has_summary = config.get("thinking_summaries") == "auto"
    steps = [beat.thought("**Thinking it over**\n\nShort is best." if has_summary else None, dice)]
    steps += tools.played(record, seed, without=frozenset({"google_search"}))
    words = chat.reply(record, seed)
    if any(tool.get("type") == "google_search" for tool in record.request.get("tools") or []):
        return [*steps, *_grounded(record, words, dice)]
    images = [media.image(dice) for _ in range(record.script.images or 0)]
    return [*steps, beat.output(beat.text(words), *images)]


def _is_by_uri(record: Record) -> bool:
    formats = record.request.get("response_format")
    listed = formats if isinstance(formats, list) else [formats]
    return any(isinstance(wanted, dict) and wanted.get("delivery") == "uri" for wanted in listed)


def _grounded(record: Record, words: str, dice: Dice) -> list[Step]:
    question = question_of(record.steps)
    call_id = f"search_{Dice(record.id).bits():012x}"
    (source,) = report.sources_of(question, 1)
    citation: dict[str, Any] = {"type": "url_citation", "url": source.url, "title": source.title}
    citation |= {"start_index": 0, "end_index": len(words.encode())}
    call = {"queries": [" ".join(keywords_of(question)[:6]) or "news"]}
    return [
        {"type": "google_search_call", "id": call_id, "arguments": call, "signature": beat.signature(dice)},
        {"type": "google_search_result", "call_id": call_id, "result": [{"search_suggestions": "<div></div>"}]},
        beat.output(beat.text(words, [citation])),
    ]


def _limit_of(record: Record) -> int | None:
    config = record.request.get("generation_config") or record.request.get("agent_config") or {}
    limit = config.get("max_output_tokens", config.get("max_total_tokens"))
    return int(limit) if isinstance(limit, int) or (isinstance(limit, str) and limit.isdigit()) else None


def _cut(output: list[Step], limit: int | None) -> list[Step]:
    """Keep the first half of the text, or as many tokens as the limit allows, and what belongs to it."""
    text = _text_of(output)
    length = len(text) // 2 if limit is None else min(limit * 4, len(text))
    kept = [step for step in output if step["type"] != "model_output"]
    return [*kept, beat.output(beat.text(text[:length]))]


def _text_of(steps: list[Step]) -> str:
    contents = [content for step in steps for content in step.get("content") or []]
    return "".join(content["text"] for content in contents if content["type"] == "text")


def _usage(record: Record, output: list[Step]) -> dict[str, Any]:
    is_research = record.is_research
    searches = research.search_count(record) if is_research else sum(s["type"] == "google_search_call" for s in output)
    seen = tokens_of(words_of(record.past) + words_of(record.steps)) + _MEDIA_TOKENS * len(media_of(record.steps))
    made = [content for step in output for content in step.get("content") or [] if content["type"] != "text"]
    said = tokens_of(_text_of(output)) + _MEDIA_TOKENS * len(made)
    thought = 12_000 * searches if is_research else said // 2 + 8
    tool = 9_000 * searches if is_research else 40 * searches
    usage: dict[str, Any] = {
        "total_input_tokens": seen,
        "initial_input_tokens": seen,
        "input_tokens_by_modality": [{"modality": "text", "tokens": seen}],
        "total_cached_tokens": 0,
        "cached_tokens_by_modality": [],
        "total_output_tokens": said,
        "output_tokens_by_modality": [{"modality": "text", "tokens": said}],
        "total_tool_use_tokens": tool,
        "tool_use_tokens_by_modality": [{"modality": "text", "tokens": tool}],
        "total_thought_tokens": thought,
        "total_tokens": seen + said + thought + tool,
    }
    return usage | ({"grounding_tool_count": [{"type": "google_search", "count": searches}]} if searches else {})
