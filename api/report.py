"""A job's output as a document: its text, the sources it cites as footnotes, its artifacts where they stand.

Here as Markdown; `page` makes HTML of it. The text comes from a model that read the web: it is untrusted.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import quote, urlsplit

import orjson

MARKDOWN, HTML = "text/markdown", "text/html"
PLACE = re.compile(r"\]\(artifact:(\d{1,6})\)", re.ASCII)
"""Where in the text an artifact stands."""

UNBREAKABLE = re.compile(
    r"\[[^\[\]\n]{0,500}\]\([^()\s]{1,2000}\)|<https?://[^<>\s]{1,2000}>|https?://[^<>()\[\]|\s]{1,2000}|"
    r"^ {0,3}```.*?^ {0,3}```[^\n]*$",
    re.DOTALL | re.MULTILINE,
)
"""Links, addresses and blocks of code: a reference within would break them, and stands behind them."""

SPACE_MAX = 200
OPEN, CLOSE = "\ue000", "\ue001"
"""Stand for a reference while Markdown is rendered: private characters, taken out of the text before."""


@dataclass(frozen=True, slots=True)
class Source:
    """Something the text rests on; `number` counts by first use."""

    number: int
    url: str | None
    """Where it is, if it is on the web."""
    title: str


@dataclass(frozen=True)
class Report:
    """The text, where in it which source is cited, and the artifacts beside it."""

    text: str
    sources: Sequence[Source]
    marks: Sequence[tuple[int, int]]
    artifacts: Sequence[Mapping[str, Any]]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show."""
        return not self.text and not self.artifacts

    @cached_property
    def title(self) -> str | None:
        """What the text calls itself."""
        found = re.search(r"^#[ \t]+(\S[^\n]{0,200})", self.text, re.MULTILINE)
        return found[1].strip() if found else None


def of(outcome: Mapping[str, Any]) -> Report:
    """The report in a job's output."""
    text = str(outcome.get("output_text") or "").replace(OPEN, "\ufffd").replace(CLOSE, "\ufffd")
    if not text and outcome.get("output_json") is not None:
        text = f"```json\n{orjson.dumps(outcome['output_json'], option=orjson.OPT_INDENT_2).decode()}\n```"
    known: dict[str, Source] = {}
    ends: set[tuple[int, int]] = set()
    for citation in outcome.get("citations") or ():
        url, title = str(citation.get("url") or ""), _one_line(str(citation.get("title") or ""))
        is_web = _is_web(url)
        # A file has pages and no address that a reader could follow: each page is a source of its own.
        name = url if is_web else title or _one_line(url)
        if not name:
            continue
        source = known.setdefault(name, Source(len(known) + 1, url if is_web else None, title or _one_line(name)))
        end = citation.get("end_index")
        if isinstance(end, int) and 0 < end <= len(text):
            ends.add((end, source.number))
    return Report(text, list(known.values()), _placed(text, ends), outcome.get("artifacts") or ())


def markdown(report: Report) -> str:
    """Markdown with footnotes; artifacts are linked."""
    # The text may have footnotes of its own.
    prefix = "source-" if "[^" in report.text else ""
    parts = paragraphs(report, lambda number: f"[^{prefix}{number}]")
    notes = "\n".join(f"[^{prefix}{source.number}]: {_linked(source)}" for source in report.sources)
    return "\n\n".join(filter(None, [*parts, notes])) + "\n"


def paragraphs(report: Report, mark: Callable[[int], str]) -> list[str]:
    """The text, its artifacts linked where they stand, and those that stand nowhere in it."""
    by_id = {artifact["id"]: artifact for artifact in report.artifacts}
    placed: set[int] = set()

    def link(found: re.Match[str]) -> str:
        number = int(found[1])
        placed.add(number)
        return f"]({by_id[number]['url']})" if number in by_id else found[0]

    text = PLACE.sub(link, _marked(report, mark))
    is_shown = {number for number, artifact in by_id.items() if number in placed or f"]({artifact['url']})" in text}
    return [text, *(_artifact(artifact) for number, artifact in by_id.items() if number not in is_shown)]


def _placed(text: str, ends: set[tuple[int, int]]) -> list[tuple[int, int]]:
    """Where the references stand: behind what they are about, and nowhere where they would break the Markdown."""
    spans = [found.span() for found in UNBREAKABLE.finditer(text)] if ends else []
    starts = [start for start, _ in spans]
    marks = set()
    for end, number in ends:
        place = _behind_words(text, end)
        at = bisect_right(starts, place - 1) - 1
        start, stop = spans[at] if at >= 0 else (0, -1)
        if place == 0:
            continue
        if place <= stop:
            if text[start:stop].lstrip().startswith("```"):
                # Its closing line takes nothing behind it: the source is listed and has no place.
                continue
            place = stop
        # Behind the last bar of a row there is no cell any more.
        marks.add((_behind_words(text, place - 1) if text[place - 1 : place] == "|" else place, number))
    return sorted(marks)


def _behind_words(text: str, end: int) -> int:
    """The end of the last word before: at the beginning of the next line a reference would spoil what stands there."""
    place = end
    while place > max(0, end - SPACE_MAX) and text[place - 1].isspace():
        place -= 1
    return place


def _marked(report: Report, mark: Callable[[int], str]) -> str:
    """The text with a mark at the end of everything that is cited."""
    parts, start = [], 0
    for end, number in report.marks:
        parts += [report.text[start:end], mark(number)]
        start = end
    return "".join([*parts, report.text[start:]])


def _artifact(artifact: Mapping[str, Any]) -> str:
    label = f"{artifact['kind']} {artifact['id']}"
    if artifact["kind"] == "image":
        return f"![{label}]({artifact['url']})"
    return f"[{label} ({_bare(artifact['mime_type'])})]({artifact['url']})"


def _linked(source: Source) -> str:
    title = _bare(source.title)
    return f"[{title}]({href(source.url)})" if source.url else title


def _is_web(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.netloc)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]


def _bare(text: str) -> str:
    """Text that Markdown takes as nothing but text."""
    return re.sub(r"([\\`*_{}\[\]()<>#+!|~&-])", r"\\\1", text)


def href(url: str) -> str:
    """The address without what would end a Markdown link or an HTML attribute."""
    return quote(url, safe=":/?#@!$&*+,;=%~-._")
