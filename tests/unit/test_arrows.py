"""The import arrows: which package may import which, and where each outside library is at home."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

ARROWS = {
    "errors": "",
    "heap": "",
    "ids": "",
    "retry": "",
    "states": "",
    "telemetry": "",
    "settings": "errors",
    "models": "states",
    "migrations": "models",
    "document": "models",
    "options": "errors states",
    "database": "errors models",
    "keys": "errors settings",
    "vault": "errors settings",
    "artifacts": "errors settings",
    "notify": "errors settings telemetry",
    "gemini": "errors",
    "webhooks": "errors",
    "store": "document errors ids keys models states",
    "app": "errors notify settings telemetry",
    "context": "app artifacts database errors gemini keys notify retry settings store vault webhooks",
    "flow": (
        "app context document errors gemini ids models options retry settings states store telemetry vault webhooks"
    ),
    "retired": "database errors gemini store",
    "tasks": "app context errors flow telemetry",
    "ticker": "app context errors flow store tasks telemetry",
    "process": "app context errors heap retired settings tasks telemetry ticker",
    "dev": "app context database errors keys retired settings store vault",
    "cli": "app context database dev errors gemini keys models process retired settings states store vault webhooks",
    "api": (
        "app context database document errors flow gemini heap ids keys models notify options retired retry settings"
        " states store telemetry vault webhooks"
    ),
}
HOMES = {
    "aiohttp": "dev gemini webhooks",
    "alembic": "database migrations",
    "celery": "app process tasks ticker",
    "cryptography": "dev gemini vault",
    "fastapi": "api",
    "google": "gemini",
    "httpx2": "cli gemini",
    "jsonschema": "gemini",
    "jwt": "dev gemini",
    "kombu": "app process tasks ticker",
    "obstore": "artifacts",
    "python_multipart": "api",
    "redis": "app notify",
    "standardwebhooks": "dev gemini webhooks",
    "sqlalchemy": "database migrations models store",
    "sqlmodel": "database migrations models store",
    "starlette": "api",
    "structlog": "api telemetry",
    "typer": "cli",
    "uvicorn": "api",
}
TYPES = {"sqlmodel.Session": "api flow retired"}
"""Names that others may import as types, beside the homes."""


@dataclass(frozen=True, slots=True)
class Import:
    """One imported name, and where."""

    place: str
    package: str
    name: str


def names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def package(dotted: str) -> str:
    """`worker.store.gates` is part of `store`, whatever is in `api` is part of `api`."""
    first, _, rest = dotted.partition(".")
    return rest.partition(".")[0] if first == "worker" else first


@cache
def imports() -> tuple[Import, ...]:
    found = []
    for path in sorted([*ROOT.glob("worker/**/*.py"), *ROOT.glob("api/**/*.py")]):
        place = path.relative_to(ROOT)
        owner = package(".".join(place.with_suffix("").parts)).replace("__init__", "worker")
        found += [Import(str(place), owner, name) for name in names(ast.parse(path.read_text()))]
    return tuple(found)


def ours() -> Iterator[tuple[Import, str]]:
    for one in imports():
        if one.name.split(".")[0] in ("worker", "api") and package(one.name) != one.package:
            yield one, package(one.name)


def test_the_table_names_every_package() -> None:
    files = {path.stem for path in (ROOT / "worker").iterdir() if not path.name.startswith("_")}

    assert files | {"api"} == set(ARROWS)


@pytest.mark.parametrize("owner", ARROWS)
def test_a_package_imports_only_what_its_arrows_allow(owner: str) -> None:
    astray = [
        f"{one.place}: {one.name}"
        for one, target in ours()
        if one.package == owner and target not in ARROWS[owner].split()
    ]

    assert astray == []


def test_the_arrows_go_one_way() -> None:
    order = TopologicalSorter({owner: targets.split() for owner, targets in ARROWS.items()}).static_order()

    assert len(list(order)) == len(ARROWS)


def test_the_worker_never_imports_the_api() -> None:
    assert [one.place for one, target in ours() if target == "api"] == []


def test_the_api_sends_by_name_and_imports_no_task() -> None:
    reached = {target for one, target in ours() if one.package == "api"}
    libraries = {one.name.split(".")[0] for one in imports() if one.package == "api"}

    assert not reached & {"tasks", "ticker", "process", "cli", "dev"}
    assert not libraries & {"celery", "kombu"}


def test_only_the_command_line_imports_development_aids() -> None:
    assert {one.package for one, target in ours() if target == "dev"} == {"cli"}


@pytest.mark.parametrize("library", HOMES)
def test_a_library_is_imported_at_home_only(library: str) -> None:
    used = [one for one in imports() if one.name.split(".")[0] == library]
    astray = [
        f"{one.place}: {one.name}"
        for one in used
        if one.package not in f"{HOMES[library]} {TYPES.get(one.name, '')}".split()
    ]

    assert used, f"{library} is not imported any more: take it out of the table"
    assert astray == []
