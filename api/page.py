"""A report as a page of HTML that is safe to show: every tag and attribute in it is on a list.

Neither the text's own markup nor a foreign image survives; a picture from elsewhere would tell its host who reads.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from html import escape

import nh3
from markdown_it import MarkdownIt

from api.report import CLOSE, OPEN, Report, Source, href, paragraphs

CSP = (
    "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; sandbox"
)
BLOCKS = {"blockquote", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre", "section", "ul"}
CELLS = {"table", "tbody", "td", "th", "thead", "tr"}
WORDS = {"a", "br", "code", "em", "img", "s", "strong", "sup"}
ATTRIBUTES = {"a": {"href", "title"}, "img": {"src", "alt"}, "li": {"id"}, "ol": {"start"}}
STYLE = """
:root{color-scheme:light dark;--ink:#1d2430;--paper:#fff;--line:#cfd4dc;--shade:#f4f5f7;--link:#1a56b0}
@media(prefers-color-scheme:dark){:root{--ink:#dfe3ea;--paper:#14171c;--line:#3a414d;--shade:#1e232b;--link:#8ab4ff}}
body{font:17px/1.6 system-ui,sans-serif;max-width:46rem;margin:3rem auto;padding:0 1.2rem;color:var(--ink);
background:var(--paper);overflow-wrap:break-word}
h1,h2,h3,h4{line-height:1.25;margin:2.2em 0 .6em}h1{margin-top:0}a{color:var(--link)}
img{display:block;max-width:100%;margin:1.6rem auto}
pre{overflow:auto;background:var(--shade);padding:.8rem;border-radius:4px}pre,code{font-size:.9em}
blockquote{margin:1em 0;padding-left:1rem;border-left:3px solid var(--line)}
table{border-collapse:collapse;display:block;overflow:auto}
td,th{border:1px solid var(--line);padding:.3rem .6rem;text-align:left}
sup{line-height:0;font-size:.7em}sup a{text-decoration:none;padding:0 .1em}
section{border-top:1px solid var(--line);margin-top:3rem;font-size:.9em}section h2{margin-top:1.2em}
@page{margin:2cm}
@media print{:root{--ink:#000;--paper:#fff;--line:#999;--shade:#f4f5f7;--link:#000}
body{font-size:11pt;max-width:none;margin:0;padding:0}pre{white-space:pre-wrap}table{display:table}
h1,h2,h3,h4{break-after:avoid}img,pre,tr,li,blockquote{break-inside:avoid}
section a::after{content:" " attr(href);word-break:break-all;color:#444}}
"""

REFERENCE = re.compile(f"{OPEN}(\\d+){CLOSE}")
BARE_IMAGE = re.compile(r'<img alt="([^"]*)">|<img>')
OWN_IMAGE = re.compile(r'<img src="([^"]*)"')

TEXT_MAX, PARAGRAPH_MAX, MARKS_MAX, PARTS_MAX = 1024 * 1024, 20_000, 500, 20_000
"""Beyond these the text is shown as it is: what a hostile one takes grows with the square of a paragraph's marks.

Parts are the marks, and the cells of tables, of the whole text.
"""

MARKS = re.compile(r"[\[\]*_`<>~&\\(]")
BLANK = re.compile(r"\n\s*\n")


def html(report: Report, name: str, pictures: Mapping[str, str] | None = None) -> str:
    """The whole page; `pictures` are addresses (also `data:`) to show in the place of artifacts' own, by these."""
    safe = _body(report, pictures or {}) + _clean(_notes(report.sources))
    return (
        '<!doctype html>\n<html><head><meta charset="utf-8">'
        f"<title>{escape(report.title or name)}</title>"
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>\n'
        f"<body>\n{safe}\n</body></html>\n"
    )


def _body(report: Report, pictures: Mapping[str, str]) -> str:
    text = "\n\n".join(paragraphs(report, lambda number: f"{OPEN}{number}{CLOSE}"))
    if len(text) > TEXT_MAX or _is_dense(text):
        # It has no markup that could be unsafe, and as many signs as would keep the cleaner busy for long.
        return _referred(f"<pre>{escape(text)}</pre>")
    body = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).render(text)
    images = {artifact["url"] for artifact in report.artifacts if artifact["kind"] == "image"}
    # A picture that is not shown leaves its description.
    safe = BARE_IMAGE.sub(lambda found: found[1] or "", _clean(_referred(body), images))
    return OWN_IMAGE.sub(lambda found: f'<img src="{escape(pictures.get(found[1], found[1]))}"', safe)


def _referred(body: str) -> str:
    """The joiner keeps a reference on the line of its word."""
    return REFERENCE.sub("\u2060" r'<sup><a href="#source-\1">[\1]</a></sup>', body)


def _clean(text: str, images: Collection[str] = ()) -> str:
    return nh3.clean(
        text,
        tags=BLOCKS | CELLS | WORDS,
        attributes={tag: set(names) for tag, names in ATTRIBUTES.items()},
        attribute_filter=_only(images),
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer nofollow",
    )


def _is_dense(text: str) -> bool:
    parts = 0
    for paragraph in BLANK.split(text):
        marks, lines = len(MARKS.findall(paragraph)), paragraph.split("\n")
        # A row has all the columns of its table, whatever is written of them.
        parts += marks + len(lines) * max(line.count("|") for line in lines)
        if len(paragraph) > PARAGRAPH_MAX or marks > MARKS_MAX or parts > PARTS_MAX:
            return True
    return False


def _notes(sources: Sequence[Source]) -> str:
    items = "".join(f'<li id="source-{source.number}">{_linked(source)}</li>' for source in sources)
    return f"<section><h2>Footnotes</h2><ol>{items}</ol></section>" if items else ""


def _linked(source: Source) -> str:
    title = escape(source.title)
    return f'<a href="{escape(href(source.url))}">{title}</a>' if source.url else title


def _only(images: Collection[str]) -> Callable[[str, str, str], str | None]:
    """Let no image through but these."""
    return lambda tag, name, value: None if (tag, name) == ("img", "src") and value not in images else value
