"""What the API refuses in `tools` although the SDK's types do not. Pure: no value is echoed."""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from worker.errors import Fault, pointer_to
from worker.gemini.contents import of_unknown
from worker.gemini.keywords import of_schema
from worker.gemini.shapes import type_of, types_of

Path = list[str | int]

_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,128}")


def of_tools(fields: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield what is wrong with each tool."""
    tools = fields.get("tools")
    names: set[str] = set()
    for index, tool in enumerate(tools if isinstance(tools, list) else ()):
        path: Path = ["tools", index]
        match type_of(tool):
            case "function":
                yield from _function(tool, path, names)
            case "mcp_server":
                yield from _mcp_server(tool, path)
            case kind if kind not in types_of("Tool"):
                yield of_unknown(tool, path)


def _function(tool: Mapping[str, Any], path: Path, names: set[str]) -> Iterator[Fault]:
    name, parameters = tool.get("name"), tool.get("parameters")
    at = pointer_to([*path, "name"])
    if name is None:
        yield Fault(at, "is required")
    elif isinstance(name, str) and not _NAME.fullmatch(name):
        yield Fault(at, "must be 1 to 128 letters, digits, _, ., : and -")
    elif isinstance(name, str) and name in names:
        yield Fault(at, "is the name of another function, too")
    elif isinstance(name, str):
        names.add(name)
    if parameters is not None:
        yield from of_schema(parameters, [*path, "parameters"])


def _mcp_server(tool: Mapping[str, Any], path: Path) -> Iterator[Fault]:
    url = tool.get("url")
    if url is None or (isinstance(url, str) and not _is_web(url)):
        yield Fault(pointer_to([*path, "url"]), "must be the http(s) address of the server")


def _is_web(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and url.isprintable() and " " not in url
