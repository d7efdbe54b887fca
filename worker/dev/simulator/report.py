"""Writes a Deep Research report, or its plan, from a prompt: Markdown with citations whose offsets count UTF-8 bytes.

The same prompt and dice give the same report. It says of itself that it is simulated.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

from worker.dev.simulator.dice import Dice
from worker.dev.simulator.words import headed, keywords_of, slug_of, topic_of

Content = dict[str, Any]

_NOTICE = "> Written by the local Gemini simulator: no source was read and no figure here is real.\n\n"

_CLAIMS = (
    "Between {y0} and {y1} the share of {a} rose from {n} % to {m} %, which most authors put down to {b}.",
    "“Without {b} there is no {a}”, as one review — the most quoted of its year — puts it.",
    "A study of {n} sites in Zürich, São Paulo and Kraków found {a} to depend on {b} far more than on price.",
    "The cost of {a} fell to about €{n} per unit, against €{m} five years before; {b} explains half of the difference.",
    "The naïve reading, that {a} follows from {b}, fails in {n} of {m} cases that were looked at again.",
    "Where {a} was tried together with {b}, {n} ± 3 % of the effect was still there after {y1}.",
    "Interviews in Malmö and Łódź name {b} first, and {a} only after it, as the reason to change course.",
    "Since {y0} there have been {n} trials of {a}; {b} was controlled for in ≈ {m} % of them at most.",
    "The committee's minutes — published only in {y1} — call {a} “the price of {b}”.",
)
_LINKS = (
    "What follows from this for {a} is less clear than it looks.",
    "That is not to say that {b} settles the matter: the two move together, and neither comes first.",
    "Seen from {a}, the picture changes — and with it the answer to what {b} is good for.",
    "Most of the disagreement about {a} is about words; the measurements agree within a few per cent.",
    "Practitioners care about something else: whether {b} can be had in time, and from whom.",
    "Here the sources on {a} thin out, and what remains is opinion rather than evidence.",
    "Nobody has repeated this for {b}, and somebody should.",
    "It is the exception that makes {a} interesting: it vanishes as soon as {b} is left out.",
)
_HEADINGS = (
    "Background: {a}",
    "What drives {a}",
    "{a} and {b}",
    "The case against {a}",
    "Costs and benefits of {a}",
    "Open questions about {a}",
    "Who decides on {a}",
)
_SITES = ("example.org", "research.example.com", "archive.example.net", "journal.example.org", "data.example.com")


@dataclass(frozen=True, slots=True)
class Source:
    """Something that a report cites; the addresses are reserved ones that nobody serves."""

    title: str
    url: str


@dataclass(slots=True)
class Draft:
    """A text that grows, with its citations at byte offsets."""

    parts: list[str] = field(default_factory=list)
    annotations: list[dict[str, Any]] = field(default_factory=list)
    size_b: int = 0

    def add(self, text: str) -> None:
        """Append text."""
        self.parts.append(text)
        self.size_b += len(text.encode())

    def cite(self, text: str, source: Source) -> None:
        """Append text that rests on a source; the end offset is exclusive."""
        start = self.size_b
        self.add(text)
        citation = {"type": "url_citation", "url": source.url, "title": source.title}
        self.annotations.append({**citation, "start_index": start, "end_index": self.size_b})

    def content(self) -> Content:
        """Return the text content."""
        content: Content = {"type": "text", "text": "".join(self.parts)}
        return content | {"annotations": self.annotations} if self.annotations else content


@dataclass(frozen=True, slots=True, kw_only=True)
class Brief:
    """What a report is to be about."""

    prompt: str
    sections: int
    images: int
    size_b: int = 0


@dataclass(frozen=True, slots=True)
class Pen:
    """What sentences are made from; no pattern comes back before all have been used."""

    words: list[str]
    sources: list[Source]
    claims: Iterator[str]
    links: Iterator[str]
    dice: Dice


def sources_of(prompt: str, count: int) -> list[Source]:
    """Return the sources that a report on this prompt cites."""
    words = _subjects(prompt)
    sites = cycle(_SITES)
    return [
        Source(f"{headed(words[i % len(words)])} in review, part {i + 1}", f"https://{site}/{slug}-{i + 1}")
        for i, site in zip(range(count), sites, strict=False)
        if (slug := slug_of(words[i % len(words)]))
    ]


def write(brief: Brief, dice: Dice) -> list[Content]:
    """Return the contents of a report: texts, with a place for an image between each two."""
    sources = sources_of(brief.prompt, brief.sections + 2)
    pen = Pen(_subjects(brief.prompt), sources, _dealt(_CLAIMS, dice), _dealt(_LINKS, dice), dice)
    drafts = [Draft() for _ in range(brief.images + 1)]
    drafts[0].add(f"# {topic_of(brief.prompt)}\n\n{_NOTICE}")
    sections = max(brief.sections, len(drafts))
    for number in range(sections):
        _write_section(drafts[number * len(drafts) // sections], number, pen)
    _write_appendix(drafts[-1], brief, sum(draft.size_b for draft in drafts), dice)
    listed = "".join(f"{i}. [{source.title}]({source.url})\n" for i, source in enumerate(sources, 1))
    drafts[-1].add(f"## Sources\n\n{listed}")
    return [draft.content() for draft in drafts]


def plan(prompt: str, feedback: list[str]) -> str:
    """Return a research plan, as collaborative planning gives it."""
    words = _subjects(prompt)
    steps = [
        f"({i}) Find out how {word} is defined, measured and disputed." for i, word in enumerate(words[:4], start=1)
    ]
    steps += [f"({len(steps) + i}) As you asked: {wish}" for i, wish in enumerate(feedback, start=1)]
    steps.append(f"({len(steps) + 1}) Weigh the sources against each other and write the report — with charts.")
    return f"**Research plan: {topic_of(prompt)}**\n\n" + "\n".join(steps) + "\n\nShall I go on with this plan?"


def _write_section(draft: Draft, number: int, pen: Pen) -> None:
    a, b = pen.words[number % len(pen.words)], pen.words[(number + 1) % len(pen.words)]
    heading = _HEADINGS[(number - 1) % len(_HEADINGS)].format(a=a, b=b) if number else "Summary"
    draft.add(f"## {headed(heading)}\n\n")
    for _ in range(pen.dice.between(2, 3)):
        for position in range(pen.dice.between(2, 3)):
            draft.add(" " if position else "")
            draft.cite(_sentence(next(pen.claims), a, b, pen.dice), pen.dice.pick(pen.sources))
            draft.add(" " + _sentence(next(pen.links), a, b, pen.dice))
        draft.add("\n\n")


def _write_appendix(draft: Draft, brief: Brief, size_b: int, dice: Dice) -> None:
    missing_b = brief.size_b - size_b
    if missing_b <= 0:
        return
    words = _subjects(brief.prompt)
    lines = [_sentence(dice.pick(_CLAIMS), dice.pick(words), dice.pick(words), dice) for _ in range(50)]
    block = "\n\n".join(lines) + "\n\n"
    draft.add("## Appendix\n\n")
    draft.add(block * (missing_b // len(block.encode()) + 1))


def _subjects(prompt: str) -> list[str]:
    words = keywords_of(prompt)[:12]
    return words if len(words) > 1 else [*words, "the subject", "the evidence"]


def _dealt(patterns: tuple[str, ...], dice: Dice) -> Iterator[str]:
    while True:
        yield from dice.shuffled(patterns)


def _sentence(pattern: str, a: str, b: str, dice: Dice) -> str:
    n, year = dice.between(3, 48), dice.between(2011, 2019)
    return pattern.format(a=a, b=b, n=n, m=n + dice.between(5, 49), y0=year, y1=year + dice.between(3, 6))
