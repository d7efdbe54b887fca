"""A model's answer in words: short, drawn from the prompt and from what was said before in the conversation."""

import re
from itertools import cycle
from typing import Any

import orjson

from worker.dev.simulator.dice import Dice
from worker.dev.simulator.instance import Maker
from worker.dev.simulator.prompt import Step, plain, question_of, results_of, words_of
from worker.dev.simulator.record import Record
from worker.dev.simulator.words import keywords_of, topic_of

_NAMED = re.compile(r"\b(?i:my name is|i am called|call me)\s+([^\W\d_][\w\u2019'-]*(?:\s+[A-Z][\w\u2019'-]*)?)")
_ASKED_NAME = re.compile(r"\bwhat(?:\u2019s|'s| is)\s+my\s+name\b|\bwho am i\b", re.IGNORECASE)
_ASKED_PAST = re.compile(
    r"\b(?:what did i|repeat what i|my (?:first|last|previous) (?:message|question))\b", re.IGNORECASE
)
_REMARKS = (
    "In short: {a} matters here because of {b} — the rest follows.",
    "The usual answer starts with {a} and ends with {b}; both halves are needed.",
    "Think of {a} as the question and of {b} as what makes it hard.",
    "Most people would begin with {b}, yet it is {a} that decides.",
)


def reply(record: Record, seed: int) -> str:
    """Return the whole text of an answer."""
    if record.script.text is not None:
        return record.script.text
    schema = _schema_of(record)
    question = question_of(record.steps)
    dice = Dice(seed, question, len(record.past))
    if schema is not None:
        words = keywords_of(question) or ["something"]
        return orjson.dumps(Maker(schema, words, dice).make(), option=orjson.OPT_INDENT_2).decode()
    results = results_of(record.steps)
    text = _from_results(results) if results else _from_words(question, record, dice)
    return _padded(_stopped(text, record), record.script.size_b)


def said_by_user(steps: list[Step]) -> list[str]:
    """Return the user's messages of a conversation, oldest first, without directives."""
    texts = (plain(words_of([step])) for step in steps if step["type"] == "user_input")
    return [text for text in texts if text]


def _from_words(question: str, record: Record, dice: Dice) -> str:
    earlier = said_by_user(record.past)
    if _ASKED_NAME.search(question):
        names = [match[1] for text in [*earlier, question] for match in [_NAMED.search(text)] if match]
        return f"Your name is {names[-1]}." if names else "You have not told me your name yet."
    if _ASKED_PAST.search(question):
        return (
            f"You wrote: “{_recalled(question, earlier)}”" if earlier else "This is the first thing you have written."
        )
    greeting = _NAMED.search(question)
    if greeting:
        return f"Nice to meet you, {greeting[1]}!"
    return " ".join(_remarks(question, earlier, dice))


def _remarks(question: str, earlier: list[str], dice: Dice) -> list[str]:
    words = [*keywords_of(question), "the question", "the answer"]
    told = [f"You asked about “{topic_of(question)}”."]
    if earlier:
        told.append(f"Earlier in this conversation you wrote: “{_recalled(question, earlier)}”")
    remarks = dice.shuffled(_REMARKS)[: dice.between(2, 3)]
    told += [remark.format(a=words[0], b=b) for remark, b in zip(remarks, cycle(words[1:]), strict=False)]
    return [*told, "(This answer was made up by the local Gemini simulator.)"]


def _recalled(question: str, earlier: list[str]) -> str:
    if re.search(r"\bfirst\b", question, re.IGNORECASE):
        return earlier[0][:500]
    asked = {word.lower() for word in keywords_of(question)}
    shared = [len(asked & {word.lower() for word in keywords_of(text)}) for text in earlier]
    best = max(range(len(earlier)), key=lambda i: (shared[i], i))
    return earlier[best][:500]


def _from_results(results: dict[str, Step]) -> str:
    lines = []
    for step in results.values():
        name = step.get("name") or "The function"
        verb = "failed with" if step.get("is_error") else "returned"
        lines.append(f"{name} {verb} {_shown(step.get('result'))}.")
    return "According to what you looked up: " + " ".join(lines)


def _shown(result: Any) -> str:
    if isinstance(result, list):
        return ", ".join(str(part.get("text", part.get("type"))) for part in result if isinstance(part, dict))
    return result if isinstance(result, str) else orjson.dumps(result).decode()


def _stopped(text: str, record: Record) -> str:
    for stop in (record.request.get("generation_config") or {}).get("stop_sequences") or []:
        if isinstance(stop, str) and stop:
            text = text.split(stop, 1)[0]
    return text


def _padded(text: str, size_b: int) -> str:
    missing_b = size_b - len(text.encode())
    if missing_b <= 0:
        return text
    filler = "\n\nThe simulator repeats itself because a large answer was asked for — nothing more is said here."
    return text + filler * (missing_b // len(filler.encode()) + 1)


def _schema_of(record: Record) -> dict[str, Any] | None:
    formats = record.request.get("response_format") or []
    for item in formats if isinstance(formats, list) else [formats]:
        if item.get("mime_type") == "application/json":
            schema = item.get("schema")
            return schema if isinstance(schema, dict) else {"type": "object"}
    return {"type": "object"} if record.request.get("response_mime_type") == "application/json" else None
