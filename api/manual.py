"""`/docs`: the OpenAPI document as one page, written here, without scripts and without anything from elsewhere."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

import orjson

Node = Mapping[str, Any]

CSP = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
STYLE = """
:root{--ink:#1d2430;--soft:#5b6472;--line:#d9dde4;--paper:#fff;--code:#f4f6f9;--accent:#2456c4}
@media(prefers-color-scheme:dark){
:root{--ink:#dfe3ea;--soft:#98a1b0;--line:#333a45;--paper:#14171c;--code:#1e232b;--accent:#8ab4ff}}
body{font:16px/1.55 system-ui,sans-serif;color:var(--ink);background:var(--paper);
max-width:60rem;margin:2rem auto;padding:0 1.2rem}
a{color:var(--accent)}code,pre{font:13.5px/1.5 ui-monospace,monospace;background:var(--code);border-radius:4px}
code{padding:.1em .3em}pre{padding:.8rem;overflow:auto}table{border-collapse:collapse;width:100%;margin:.6rem 0}
td,th{border-bottom:1px solid var(--line);padding:.35rem .6rem .35rem 0;text-align:left;vertical-align:top}
th{color:var(--soft);font-weight:600}h2{margin-top:2.6rem}section{border-top:1px solid var(--line);margin-top:1.6rem}
.verb{font-weight:700;color:var(--accent)}summary{cursor:pointer;margin:.4rem 0}
nav li{margin:.1rem 0}.soft{color:var(--soft)}
"""


def page(title: str, body: str) -> str:
    """A page around a body that is HTML already."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>\n'
        f"<body>\n{body}\n</body></html>\n"
    )


def write(document: Node) -> str:
    """The whole manual."""
    info = document["info"]
    calls = list(_calls(document))
    contents = "".join(map(_entry, calls))
    parts = [
        f"<h1>{escape(info['title'])} <small class=soft>{escape(info['version'])}</small></h1>",
        *(f"<p>{_prose(line)}</p>" for line in info.get("description", "").split("\n\n")),
        '<p>For programs: <a href="/openapi.json">/openapi.json</a></p>',
        f"<nav><ul>{contents}</ul></nav>",
        *(_section(call) for call in calls),
        "<h2>Shapes</h2>",
        *(_shape(name, schema) for name, schema in document["components"]["schemas"].items()),
    ]
    return page(info["title"], "\n".join(parts))


class _Call:
    """One operation."""

    def __init__(self, verb: str, path: str, about: Node) -> None:
        self.verb = verb.upper()
        self.path = path
        self.about = about
        self.anchor = escape(f"{verb}-{path.strip('/').replace('/', '-').replace('{', '').replace('}', '')}")


def _calls(document: Node) -> Iterator[_Call]:
    for path, operations in document["paths"].items():
        for verb, about in operations.items():
            yield _Call(verb, path, about)


def _entry(call: _Call) -> str:
    name = f"<code>{call.verb} {escape(call.path)}</code>"
    return f'<li><a href="#{call.anchor}">{name}</a> {escape(call.about["summary"])}</li>'


def _section(call: _Call) -> str:
    about = call.about
    parts = [
        f'<section id="{call.anchor}"><h3><span class=verb>{call.verb}</span> <code>{escape(call.path)}</code></h3>',
        f"<p><b>{escape(about['summary'])}.</b> {_prose(about.get('description', ''))}</p>",
        _parameters(about.get("parameters", [])),
        *(_content("Body", content) for content in _contents(about.get("requestBody", {}))),
        *(_answer(status, answer) for status, answer in sorted(about["responses"].items())),
        "</section>",
    ]
    return "\n".join(filter(None, parts))


def _parameters(found: list[Node]) -> str:
    if not found:
        return ""
    rows = "".join(
        f"<tr><td><code>{escape(one['name'])}</code></td><td class=soft>{escape(one['in'])}</td>"
        f"<td>{escape(_kind(one['schema']))}</td><td>{_prose(one.get('description', ''))}</td></tr>"
        for one in found
    )
    return f"<table><tr><th>Parameter</th><th>In</th><th>Type</th><th></th></tr>{rows}</table>"


def _answer(status: str, answer: Node) -> str:
    inner = "".join(_content("", content) for content in _contents(answer))
    head = f"<code>{escape(status)}</code> {_prose(answer['description'])}"
    named = "".join(
        f"<br><code>{escape(name)}</code> {_prose(one['description'])}"
        for name, one in answer.get("headers", {}).items()
    )
    return f"<details><summary>{head}</summary>{named}{inner}</details>"


def _contents(node: Node) -> Iterator[tuple[str, Node]]:
    yield from node.get("content", {}).items()


def _content(label: str, content: tuple[str, Node]) -> str:
    media_type, about = content
    examples = about.get("examples") or {"": {"summary": "", "value": about.get("example")}}
    shape = _kind(about["schema"])
    head = f"<p>{label} <code>{escape(media_type)}</code> <span class=soft>{escape(shape)}</span></p>"
    shown = "".join(f"<p class=soft>{escape(one['summary'])}</p>{_code(one['value'])}" for one in examples.values())
    return head + shown


def _code(value: Any) -> str:
    text = value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    return f"<pre>{escape(text)}</pre>"


def _shape(name: str, schema: Node) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(field)}</code></td><td>{escape(_kind(about))}</td>"
        f"<td>{_prose(about.get('description', ''))}</td></tr>"
        for field, about in schema.get("properties", {}).items()
    )
    table = f"<table>{rows}</table>" if rows else f"<p>{escape(_kind(schema))}</p>"
    about = _prose(schema.get("description", ""))
    return f'<details id="shape-{escape(name)}"><summary><b>{escape(name)}</b> {about}</summary>{table}</details>'


def _kind(schema: Node) -> str:
    """A schema in a few words."""
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_kind(one) for one in schema["anyOf"]))
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(orjson.dumps(schema["const"]).decode())
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    return str(schema.get("format") or schema.get("type") or "any")


def _prose(text: str) -> str:
    """Text in which `code` is set as such."""
    return "".join(
        f"<code>{escape(part)}</code>" if number % 2 else escape(part) for number, part in enumerate(text.split("`"))
    )
