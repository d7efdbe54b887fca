"""A Deep Research run: thoughts, searches and pages read along the way, a cited report or a plan at the end."""

from typing import Any

from worker.dev.simulator import report
from worker.dev.simulator.beat import output, signature, text, thought
from worker.dev.simulator.chat import said_by_user
from worker.dev.simulator.dice import Dice
from worker.dev.simulator.media import image
from worker.dev.simulator.prompt import Step, question_of
from worker.dev.simulator.record import Record
from worker.dev.simulator.words import keywords_of, topic_of

_ROUNDS = {"deep-research-max-preview-04-2026": 5}
_USUAL_ROUNDS = 3
_STEPS_PER_ROUND = 5


def is_planning(record: Record) -> bool:
    """Whether the run is to end with a plan."""
    return _config(record).get("collaborative_planning") is True


def step_count(record: Record) -> int:
    """Return how many working steps the run has, without making them."""
    return 1 if is_planning(record) else 2 + _STEPS_PER_ROUND * _rounds(record)


def steps(record: Record, seed: int) -> list[Step]:
    """Return the working steps."""
    subject = subject_of(record)
    dice = Dice(seed, "research", subject)
    topic = topic_of(subject)
    if is_planning(record):
        return [_thought(record, f"**Planning**\n\nHow “{topic}” could be looked into.", dice)]
    made = [_thought(record, f"**Setting out**\n\nI want to know what is known about “{topic}” — and how well.", dice)]
    words = keywords_of(subject) or ["the subject"]
    sources = report.sources_of(subject, 2 * _rounds(record))
    for number in range(_rounds(record)):
        word = words[number % len(words)]
        made += _search(record, f"{word} {topic}"[:120], number, dice)
        made.append(_thought(record, f"**Reading on {word}**\n\nTwo of the results look sound; I read both.", dice))
        made += _read(record, sources[2 * number : 2 * number + 2], number, dice)
    return [*made, _thought(record, "**Writing**\n\nThe sources agree on enough to write the report.", dice)]


def result(record: Record, seed: int) -> list[Step]:
    """Return the output: the report with its images, or the plan."""
    subject = subject_of(record)
    if record.script.text is not None:
        return [output(text(record.script.text))]
    if is_planning(record):
        asked = [*said_by_user(record.past), question_of(record.steps)]
        return [output(text(report.plan(subject, [wish for wish in asked[1:] if wish])))]
    images = _images(record)
    brief = report.Brief(prompt=subject, sections=4 + _rounds(record), images=images, size_b=record.script.size_b)
    texts = report.write(brief, Dice(seed, "report", subject))
    contents: list[dict[str, Any]] = []
    for number, content in enumerate(texts):
        contents.append(content)
        if number < images:
            contents.append(image(Dice(seed, "chart", subject, number)))
    return [output(*contents)]


def subject_of(record: Record) -> str:
    """Return what is researched: the first message of a conversation that was about a plan, else this one."""
    earlier = said_by_user(record.past)
    return earlier[0] if earlier else question_of(record.steps)


def search_count(record: Record) -> int:
    """Return how many searches the run makes."""
    return 0 if is_planning(record) else _rounds(record)


def _rounds(record: Record) -> int:
    return _ROUNDS.get(record.target, _USUAL_ROUNDS)


def _config(record: Record) -> dict[str, Any]:
    return record.request.get("agent_config") or {}


def _images(record: Record) -> int:
    if record.script.images is not None:
        return record.script.images
    return 0 if _config(record).get("visualization") == "off" else 1


def _thought(record: Record, summary: str, dice: Dice) -> Step:
    return thought(None if _config(record).get("thinking_summaries") == "none" else summary, dice)


def _search(record: Record, query: str, number: int, dice: Dice) -> list[Step]:
    call_id = f"search_{Dice(record.id, number).bits():012x}"
    suggestions = f'<div class="suggestions"><a href="https://example.com/search">{number + 1} suggestion</a></div>'
    return [
        {"type": "google_search_call", "id": call_id, "arguments": {"queries": [query]}, "signature": signature(dice)},
        {"type": "google_search_result", "call_id": call_id, "result": [{"search_suggestions": suggestions}]},
    ]


def _read(record: Record, sources: list[report.Source], number: int, dice: Dice) -> list[Step]:
    call_id = f"url_{Dice(record.id, 1_000 + number).bits():012x}"
    urls = [source.url for source in sources]
    read = [{"url": url, "status": "success"} for url in urls]
    return [
        {"type": "url_context_call", "id": call_id, "arguments": {"urls": urls}, "signature": signature(dice)},
        {"type": "url_context_result", "call_id": call_id, "result": read},
    ]
