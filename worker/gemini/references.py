"""What a create names of the things that the API keeps for somebody: files by URI, environments by id. Pure.

Public addresses, YouTube and gs:// are nobody's: they are not among them. A file has one name however its URI is put;
where a loose reader might see another file in it than a strict one, it is the name of none that anybody holds.
"""

import posixpath
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard
from urllib.parse import unquote, urlsplit

from worker.errors import pointer_to

FILE, ENVIRONMENT = "file", "environment"
NEW = frozenset({"", "remote"})
"""Environments that are nobody's yet."""
NAME_MAX = 512
URI_MAX = 4096
"""Nothing longer is the address of a file, but may hide one."""

_FILE = re.compile(r"(?:^|/)(files/[^/?#:\s]+)")
_BARE = re.compile(r"/?(?:v\w+/)?(files/[^/?#:\s]+)")
_LAST = re.compile(r".*(?:^|/)(files/[^/?#:\s]+)", re.DOTALL)
_WEB = re.compile(r"https?:/*|//")
_HOST = re.compile(r"(?:[\w-]+\.)*[\w-]*generativelanguage(?:\.[\w-]+)*\.googleapis\.com")

Path = list[str | int]


@dataclass(frozen=True, slots=True)
class Reference:
    """One name in a create, as the API keeps it, and where it stands."""

    pointer: str
    kind: str
    name: str


def references_of(fields: Mapping[str, Any], base_url: str) -> tuple[Reference, ...]:
    """Return what a checked create names, in its order; `base_url` is where the API is reached."""
    environment = fields.get("environment")
    at: Path = ["environment"]
    found = []
    if isinstance(environment, Mapping):
        at, environment = ["environment", "environment_id"], environment.get("environment_id")
    if isinstance(environment, str) and environment not in NEW:
        found.append(Reference(pointer_to(at), ENVIRONMENT, environment))
    for path, uri in [*_uris(fields.get("input"), ["input"]), *_sources(fields.get("environment"))]:
        name = file_name(uri, base_url)
        if _is_doubtful(uri, name, base_url):
            name = uri[:NAME_MAX]
        if name is not None:
            found.append(Reference(pointer_to(path), FILE, name))
    return tuple(found)


def made_by(root: Mapping[str, Any], base_url: str) -> dict[str, set[str]]:
    """Return what the body of an ended interaction says that its run left upstream: names by kind."""
    environment, steps = root.get("environment_id"), root.get("steps")
    outputs = [step for step in steps if _is_output(step)] if isinstance(steps, list) else []
    files = [file_name(uri, base_url) for _, uri in _uris(outputs, [])]
    return {
        ENVIRONMENT: {environment} if _is_name(environment) and environment not in NEW else set(),
        FILE: {name for name in files if name is not None and _is_name(name)},
    }


def file_name(uri: str, base_url: str) -> str | None:
    """Return the name (`files/…`) of a file of the API, in whatever way its URI is put; None for anything else."""
    text = unquote(uri).strip()
    try:
        parts = urlsplit(text)
        host, own = parts.hostname, urlsplit(base_url).hostname
    except ValueError:
        return None
    if not host:
        bare = _BARE.match(text)
        return bare[1] if bare and not parts.scheme else None
    host = host.rstrip(".").lower()
    found = _FILE.search(parts.path) if host == own or _HOST.fullmatch(host) else None
    return found[1] if found else None


def _is_doubtful(uri: str, name: str | None, base_url: str) -> bool:
    """Whether somebody may see another file in a URI: with dots, empty parts and escapes resolved, however often."""
    if len(uri) > URI_MAX:
        return not uri.startswith("data:")
    text = re.split("[?#]", uri, maxsplit=1)[0]
    for _ in range(3):
        text = unquote(text)
    text = unicodedata.normalize("NFKC", text).replace("\u3002", ".").replace("\\", "/").strip().lower()
    start = _WEB.match(text)
    host, _, path = text[start.end() :].partition("/") if start else ("", "", text)
    plain = posixpath.normpath(f"/{path}").lstrip("/")
    seen = file_name(f"https://{host}/{plain}" if start else plain, base_url)
    last = _LAST.match(plain) if seen else None
    return (last[1] if last else seen) != (name and name.lower())


def _is_name(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and len(value) <= NAME_MAX and "\x00" not in value


def _is_output(step: Any) -> bool:
    return isinstance(step, Mapping) and step.get("type") == "model_output"


def _uris(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    """Yield path and URI of every content: by itself, in a step, in a result. Free-form results name nothing."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _uris(item, [*path, index])
    elif isinstance(value, Mapping):
        if isinstance(value.get("uri"), str):
            yield [*path, "uri"], value["uri"]
        for name in ("content", "result", "summary"):
            if isinstance(value.get(name), list):
                yield from _uris(value[name], [*path, name])


def _sources(environment: Any) -> Iterator[tuple[Path, str]]:
    sources = environment.get("sources") if isinstance(environment, Mapping) else None
    for index, source in enumerate(sources if isinstance(sources, list) else ()):
        place = source.get("source") if isinstance(source, Mapping) else None
        if isinstance(place, str):
            yield ["environment", "sources", index, "source"], place
