"""Excerpts: the beginnings of what was asked and answered, for lists that do not carry the whole."""

from collections.abc import Iterator
from typing import Any

LENGTH = 500


def of_text(text: str | None) -> str | None:
    """The first characters; an ellipsis tells that there are more."""
    if not text:
        return None
    return text if len(text) <= LENGTH else text[: LENGTH - 1] + "…"


def of_input(value: Any) -> str | None:
    """The user's first words in an input of any form; None where there are none."""
    said, room = [], LENGTH
    for text in _texts(value):
        said.append(text)
        room -= len(text)
        if room < 0:
            break
    return of_text("\n".join(said))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
        return
    for item in value if isinstance(value, list) else [value]:
        if not isinstance(item, dict):
            continue
        if item.get("type") == "text" and isinstance(item.get("text"), str):
            yield item["text"]
        elif item.get("type") == "user_input":
            yield from _texts(item.get("content"))
