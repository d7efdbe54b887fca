"""Writes the final output of an interaction as one Markdown text, with its citations in character offsets. Pure.

All text of all model outputs after the last user input counts; the SDK's `output_text` drops what precedes an image.
Media between texts become `![image](artifact:N)`, other kinds `[audio](artifact:N)`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from worker.gemini.citations import Citation, citations_of
from worker.gemini.media import KINDS

_URI = re.compile(r"(?:https?|gs)://[^\s<>()\[\]\"'\\]+")


@dataclass(frozen=True, slots=True)
class Output:
    """The output: its text ("" without any), the citations in it, and its texts as they came, run by run."""

    text: str
    citations: tuple[Citation, ...]
    runs: tuple[str, ...]
    has_media: bool


def final_steps(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the steps after the last user input."""
    last = max((index for index, step in enumerate(steps) if step.get("type") == "user_input"), default=-1)
    return steps[last + 1 :]


def contents_of(step: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the contents of a model output, without anything that is none."""
    content = step.get("content") if step.get("type") == "model_output" else None
    return [item for item in content if isinstance(item, dict)] if isinstance(content, list) else []


def write_output(steps: list[dict[str, Any]], numbers: Mapping[str, int] | None = None) -> Output:
    """Return the output of the final steps, whose media have been taken out; `numbers` are artifacts by URI."""
    page, runs, citations, has_media = _Page(), [list[str]()], list[Citation](), False
    for piece in _pieces(steps):
        text = "" if piece is None else _text(piece)
        if piece is not None and text:
            page.write(text, is_paragraph=not runs[-1])
            citations += citations_of(piece, text, page.length - len(text))
            runs[-1].append(text)
            continue
        if runs[-1]:
            runs.append([])
        if piece is not None:
            has_media = True
            page.write(_placeholder(piece, numbers or {}), is_paragraph=True)
    found = tuple("".join(run) for run in runs if run)
    unique = dict.fromkeys(sorted(citations, key=lambda c: (c.start_index, c.end_index)))
    return Output("".join(page.parts) if found else "", tuple(unique), found, has_media)


@dataclass(slots=True)
class _Page:
    """A text in the making; blocks are set apart by a blank line."""

    parts: list[str] = field(default_factory=list)
    length: int = 0

    def write(self, text: str, *, is_paragraph: bool) -> None:
        if not text:
            return
        if is_paragraph and self.parts:
            tail = "".join(self.parts[-2:])[-2:]
            present = len(tail) - len(tail.rstrip("\n")) + len(text[:2]) - len(text[:2].lstrip("\n"))
            self._append("\n" * max(0, 2 - present))
        self._append(text)

    def _append(self, text: str) -> None:
        if text:
            self.parts.append(text)
            self.length += len(text)


def _pieces(steps: list[dict[str, Any]]) -> Iterator[dict[str, Any] | None]:
    """Yield texts and media in order, None where a step that is neither output nor thought stands between."""
    for step in steps:
        yield from (content for content in contents_of(step) if _text(content) or content.get("type") in KINDS)
        if step.get("type") not in ("model_output", "thought"):
            yield None


def _text(content: dict[str, Any]) -> str:
    text = content.get("text") if content.get("type") == "text" else None
    return text if isinstance(text, str) else ""


def _placeholder(content: dict[str, Any], numbers: Mapping[str, int]) -> str:
    kind, number, uri = content["type"], content.get("artifact"), content.get("uri")
    number = numbers.get(uri, number) if isinstance(uri, str) else number
    if isinstance(number, int):
        return f"{'!' if kind == 'image' else ''}[{kind}](artifact:{number})"
    return f"[{kind}]({uri})" if isinstance(uri, str) and _URI.fullmatch(uri) else ""
