"""The transcript: a program's run against the door, with ids, times and long texts told alike every time."""

import json
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.door.recorder import Exchange, recording
from tests.stack import Stack

FILE = Path(__file__).parent / "transcript.md"
LONGEST = 60
LIMIT_S = 120
HEAD = """# Two programs written for Google's endpoint, run against Nightdesk

`make transcript` records this. The programs are `program.py` beside this file and `program.mjs` in `tests/js`; what
differs from a run against Google are two environment variables, `GEMINI_API_KEY` and `GOOGLE_GEMINI_BASE_URL`. Ids and
times are replaced and long texts cut; looks at an interaction that still ran are left out, and texts that were streamed
in pieces are put together.
"""
ENV = {"NIGHTDESK_POLL_MODEL_START_S": "0.2", "NIGHTDESK_POLL_MODEL_CAP_S": "0.5"}
"""So that a program does not wait for a second between two looks at the simulator."""

_VERSION = re.compile(r"google-genai-sdk/(\S+)")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_ID = re.compile(r"job_[0-9a-z]{26}|call_[0-9a-f]{16}")
_SECRET = re.compile(r"nd_[\w-]{20,}")


@dataclass(frozen=True, slots=True)
class Program:
    """A program in one language."""

    language: str
    command: Sequence[str]
    folder: Path


def record(stack: Stack, program: Program) -> str:
    """Run a program against the door of an installation; gives back its part of the transcript."""
    with recording(stack.url) as recorder:
        environment = {"GEMINI_API_KEY": stack.key, "GOOGLE_GEMINI_BASE_URL": f"{recorder.url}/gemini"}
        done = subprocess.run(
            program.command,
            cwd=program.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    return render(program.language, recorder.exchanges, done.stdout)


def recorded(language: str) -> str:
    """What the file has of this language."""
    parts = re.split(r"(?m)^(?=## )", FILE.read_text())
    return next((part for part in parts if part.startswith(f"## {language},")), "").strip() + "\n"


def render(language: str, exchanges: Sequence[Exchange], printed: str) -> str:
    """A part of the transcript."""
    first = exchanges[0]
    version = _VERSION.search(first.agent)
    told = [
        f"## {language}, google-genai {version[1] if version else 'of an unknown version'}",
        f"Every request had its key in `{first.key_header}`.",
        *("\n".join(_exchange(one)) for one in exchanges if not _is_look(one)),
        "It printed:",
        _fenced(printed.strip()),
    ]
    assert {one.key_header for one in exchanges} == {first.key_header}
    text = _alike("\n\n".join(told) + "\n")
    assert not _SECRET.search(text), "a key is in the transcript"
    return text


def _is_look(one: Exchange) -> bool:
    """A look at a run, or a create that was held for long enough and is sent again: the machine decides how many."""
    return one.status == 504 or (one.method == "GET" and json.loads(one.answer)["status"] == "in_progress")


def _exchange(one: Exchange) -> Iterator[str]:
    yield f"**{one.method} {one.path}**\n"
    if one.body:
        yield _fenced(_json(json.loads(one.body))) + "\n"
    yield f"{one.status} `{one.kind}`\n"
    yield _fenced("\n".join(_events(one.answer)) if one.kind == "text/event-stream" else _json(json.loads(one.answer)))


def _events(answer: str) -> Iterator[str]:
    lines = [line.removeprefix("data: ") for line in answer.splitlines() if line.startswith("data: ")]
    assert lines.pop() == "[DONE]"
    told: list[dict[str, Any]] = []
    for line in lines:
        event = json.loads(line)
        assert event.pop("event_id")
        delta = event.get("delta", {})
        if delta.get("type") == "text" and told[-1].get("delta", {}).get("type") == "text":
            told[-1]["delta"]["text"] += delta["text"]
        else:
            told.append(event)
    yield from ("data: " + _json(event) for event in told)
    yield "data: [DONE]"


def _json(value: Any) -> str:
    return json.dumps(_short(value), ensure_ascii=False)


def _short(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _short(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_short(one) for one in value]
    if isinstance(value, str) and len(value) > LONGEST:
        return value[:LONGEST] + "…"
    return value


def _fenced(text: str) -> str:
    return f"```\n{text}\n```"


def _alike(text: str) -> str:
    """The same in every run: ids numbered as they come, one time for all."""
    names: dict[str, str] = {}

    def named(found: re.Match[str]) -> str:
        kind = found[0].partition("_")[0]
        number = 1 + sum(name.startswith(kind) for name in names)
        return names.setdefault(found[0], f"{kind}_{number}")

    return _ID.sub(named, _TIME.sub("2026-11-21T20:00:00Z", text))
