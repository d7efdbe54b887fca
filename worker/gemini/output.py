"""Writes the final output of an interaction as one Markdown text, with its citations in character offsets. Pure.

All text of all model outputs after the last user input counts; the SDK's `output_text` drops what precedes an image.
Media between texts become `![image](artifact:N)`, other kinds `[audio](artifact:N)`.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from worker.gemini.media import KINDS

_ARTIFACT = re.compile(r"\]\(artifact:(\d{1,6})\)")
_URI = re.compile(r"(?:https?|gs)://[^\s<>()\[\]\"'\\]+")


@dataclass(frozen=True, slots=True)
class Citation:
    """A source for a part of the text: offsets in characters, the end excluded."""

    url: str
    title: str | None
    start_index: int
    end_index: int


@dataclass(frozen=True, slots=True)
class Output:
    """The output: its text ("" without any), the citations in it, and its texts as they came, run by run."""

    text: str
    citations: tuple[Citation, ...]
    runs: tuple[str, ...]
    has_media: bool


def link_artifacts(text: str, url_of: Callable[[int], str], count: int) -> str:
    """Return the text with its URL in the place of each artifact below `count`; offsets behind it move."""
    return _ARTIFACT.sub(lambda m: f"]({url_of(int(m[1]))})" if int(m[1]) < count else m[0], text)


def final_steps(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the steps after the last user input."""
    last = max((index for index, step in enumerate(steps) if step.get("type") == "user_input"), default=-1)
    return steps[last + 1 :]


def contents_of(step: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the contents of a model output, without anything that is none."""
    content = step.get("content") if step.get("type") == "model_output" else None
    return [item for item in content if isinstance(item, dict)] if isinstance(content, list) else []


def write_output(steps: list[dict[str, Any]]) -> Output:
    """Return the output of the final steps, whose media have been taken out already."""
    page, runs, citations, has_media = _Page(), [list[str]()], list[Citation](), False
    for piece in _pieces(steps):
        text = "" if piece is None else _text(piece)
        if piece is not None and text:
            page.write(text, is_paragraph=not runs[-1])
            citations += _citations(piece, text, page.length - len(text))
            runs[-1].append(text)
            continue
        if runs[-1]:
            runs.append([])
        if piece is not None:
            has_media = True
            page.write(_placeholder(piece), is_paragraph=True)
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
        yield from (content for content in contents_of(step) if _text(content) or content.get("type") in _KINDS)
        if step.get("type") not in ("model_output", "thought"):
            yield None


_KINDS = tuple(KINDS)
"""A tuple, for `type` may be anything, also something that cannot be hashed."""


def _text(content: dict[str, Any]) -> str:
    text = content.get("text") if content.get("type") == "text" else None
    return text if isinstance(text, str) else ""


def _placeholder(content: dict[str, Any]) -> str:
    kind, number, uri = content["type"], content.get("artifact"), content.get("uri")
    if isinstance(number, int):
        return f"{'!' if kind == 'image' else ''}[{kind}](artifact:{number})"
    return f"[{kind}]({uri})" if isinstance(uri, str) and _URI.fullmatch(uri) else ""


def _citations(content: dict[str, Any], text: str, start: int) -> Iterator[Citation]:
    """Yield the URL citations of one text, which stands at `start`; upstream counts bytes of each text by itself."""
    annotations = content.get("annotations")
    found = [
        annotation
        for annotation in (annotations if isinstance(annotations, list) else [])
        if isinstance(annotation, dict)
        and annotation.get("type") == "url_citation"
        and isinstance(annotation.get("url"), str)
    ]
    size = len(text.encode("utf-8", "surrogatepass"))
    spans = []
    for annotation in found:
        first = _index(annotation.get("start_index"), 0, size)
        spans.append((first, max(first, _index(annotation.get("end_index"), size, size))))
    chars = _char_offsets(text, {index for span in spans for index in span})
    for annotation, (first, last) in zip(found, spans, strict=True):
        title = annotation.get("title")
        yield Citation(
            annotation["url"], title if isinstance(title, str) else None, start + chars[first], start + chars[last]
        )


def _index(value: Any, default: int, size: int) -> int:
    """Return a byte offset within the text; JSON may hold it as a string or a float, or leave out a zero."""
    try:
        index = default if value is None or isinstance(value, bool) else int(value)
    except (TypeError, ValueError, OverflowError):
        index = default
    return min(max(index, 0), size)


def _char_offsets(text: str, byte_offsets: set[int]) -> dict[int, int]:
    """Return the character offset of each byte offset; one within a character counts as its start."""
    if text.isascii():
        return {offset: offset for offset in byte_offsets}
    data = text.encode("utf-8", "surrogatepass")
    chars, known, done = 0, 0, {}
    for offset in sorted(byte_offsets):
        cut = offset
        while 0 < cut < len(data) and data[cut] & 0xC0 == 0x80:
            cut -= 1
        chars += len(data[known:cut].decode("utf-8", "surrogatepass"))
        known = cut
        done[offset] = chars
    return done
