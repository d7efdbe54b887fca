"""The body of a submission: a file, if there is one, with what the options say on top."""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import typer

MODEL = "gemini-3.5-flash-lite"
"""Small and cheap: what a job runs on unless its author says otherwise."""
TARGETS = ("model", "agent")


def body(file: str | None, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """The body; what is None in `chosen` was not said. Raises BadParameter."""
    said = {name: value for name, value in chosen.items() if value is not None}
    if all(target in said for target in TARGETS):
        raise typer.BadParameter("--model and --agent exclude each other")
    given = _read(file) if file else {}
    if any(target in said for target in TARGETS):
        given = {name: value for name, value in given.items() if name not in TARGETS}
    elif not any(target in given for target in TARGETS):
        said["model"] = MODEL
    if "input" not in said | given:
        raise typer.BadParameter("a job needs a prompt, or a --file with an `input`")
    return given | said


def pairs(texts: Sequence[str]) -> dict[str, str] | None:
    """`k=v` options as a mapping; None where there are none."""
    found = {}
    for text in texts:
        name, has_value, value = text.partition("=")
        if not has_value or not name:
            raise typer.BadParameter(f"{text!r} is not KEY=VALUE", param_hint="--metadata")
        found[name] = value
    return found or None


def moment(text: str | None, option: str = "--run-at") -> str | None:
    """A time with its offset; one without is meant as a clock here shows it."""
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).astimezone().isoformat()
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a time like 2026-12-24T18:00", param_hint=option) from None


def _read(file: str) -> dict[str, Any]:
    try:
        content = json.loads(sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error.strerror}", param_hint="--file") from None
    except ValueError as error:
        raise typer.BadParameter(f"{file}: is not JSON ({error})", param_hint="--file") from None
    if not isinstance(content, dict):
        raise typer.BadParameter(f"{file}: must hold a JSON object", param_hint="--file")
    return content
