"""A job's output as a document: Markdown with citations as footnotes, or HTML that is safe to show.

The text comes from a model that read the web: it is untrusted. Neither its own markup nor a foreign image survives.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import quote, urlsplit

import nh3
import orjson
from markdown_it import MarkdownIt

MARKDOWN, HTML = "text/markdown", "text/html"
CSP = (
    "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; sandbox"
)
OWN_IMAGE = re.compile(r"/v1/jobs/[a-z0-9_]+/artifacts/\d+", re.ASCII)
TAGS = frozenset(
    {
        "a",
        "blockquote",
        "br",
        "code",
        "em",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "hr",
        "img",
        "li",
        "ol",
        "p",
        "pre",
        "s",
    }
    | {"section", "strong", "sup", "table", "tbody", "td", "th", "thead", "tr", "ul"}
)
ATTRIBUTES = {"a": {"href", "title"}, "img": {"src", "alt"}, "li": {"id"}, "ol": {"start"}}
STYLE = """
body{font:17px/1.6 system-ui,sans-serif;max-width:46rem;margin:3rem auto;padding:0 1.2rem;color:#1d2430;background:#fff}
img{max-width:100%}pre{overflow:auto;background:#f4f5f7;padding:.8rem}table{border-collapse:collapse}
td,th{border:1px solid #cfd4dc;padding:.3rem .6rem}sup a{text-decoration:none}
section{border-top:1px solid #cfd4dc;margin-top:3rem}
@media(prefers-color-scheme:dark){body{background:#14171c;color:#dfe3ea}a{color:#8ab4ff}pre{background:#1e232b}}
"""
PLACE = re.compile(r"\]\(artifact:(\d{1,6})\)", re.ASCII)
"""Where in the text an artifact stands."""

OPEN, CLOSE = "\ue000", "\ue001"
"""Stand for a reference while Markdown is rendered: private characters, taken out of the text before."""
REFERENCE = re.compile(f"{OPEN}(\\d+){CLOSE}")


@dataclass(frozen=True, slots=True)
class Source:
    """Something the text rests on; `number` counts by first use."""

    number: int
    url: str | None
    """Where it is, if it is on the web."""
    title: str


@dataclass(frozen=True, slots=True)
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


def of(outcome: Mapping[str, Any]) -> Report:
    """The report in a job's output."""
    text = str(outcome.get("output_text") or "").replace(OPEN, "\ufffd").replace(CLOSE, "\ufffd")
    if not text and outcome.get("output_json") is not None:
        text = f"```json\n{orjson.dumps(outcome['output_json'], option=orjson.OPT_INDENT_2).decode()}\n```"
    known: dict[str, Source] = {}
    marks: set[tuple[int, int]] = set()
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
            marks.add((end, source.number))
    return Report(text, list(known.values()), sorted(marks), outcome.get("artifacts") or ())


def markdown(report: Report) -> str:
    """Markdown with footnotes; artifacts are linked."""
    parts = _parts(report, lambda number: f"[^{number}]")
    notes = "\n".join(f"[^{source.number}]: {_markdown_source(source)}" for source in report.sources)
    return "\n\n".join(filter(None, [*parts, notes])) + "\n"


def html(report: Report, title: str) -> str:
    """A whole page; every tag and attribute in it is on a list."""
    text = "\n\n".join(_parts(report, lambda number: f"{OPEN}{number}{CLOSE}"))
    body = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).render(text)
    body = REFERENCE.sub(r'<sup><a href="#source-\1">[\1]</a></sup>', body)
    items = "".join(f'<li id="source-{source.number}">{_html_source(source)}</li>' for source in report.sources)
    notes = f"<section><h2>Sources</h2><ol>{items}</ol></section>" if items else ""
    safe = nh3.clean(
        body + notes,
        tags=set(TAGS),
        attributes={tag: set(names) for tag, names in ATTRIBUTES.items()},
        attribute_filter=_own_images_only,
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer nofollow",
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>\n'
        f"<body>\n{safe}\n</body></html>\n"
    )


def _markdown_source(source: Source) -> str:
    title = _bare(source.title)
    return f"[{title}]({_href(source.url)})" if source.url else title


def _html_source(source: Source) -> str:
    title = escape(source.title)
    return f'<a href="{escape(_href(source.url))}">{title}</a>' if source.url else title


def _parts(report: Report, mark: Callable[[int], str]) -> list[str]:
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


def _href(url: str) -> str:
    """The address without what would end a Markdown link or an HTML attribute."""
    return quote(url, safe=":/?#@!$&*+,;=%~-._")


def _own_images_only(tag: str, name: str, value: str) -> str | None:
    """An image from elsewhere would tell its host who reads this."""
    if tag == "img" and name == "src" and not OWN_IMAGE.fullmatch(value):
        return None
    return value
