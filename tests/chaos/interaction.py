"""What an interaction tells, read apart from the service: the words of its output, and the sources it cites."""

import re
from typing import Any

_IMAGE = re.compile(r"!\[image\]\([^)]*\)")

Body = dict[str, Any]


def text(body: Body) -> str:
    """The text of the output, all pieces together."""
    found = ""
    for step in body.get("steps") or []:
        if step["type"] == "user_input":
            found = ""
        elif step["type"] == "model_output":
            found += "\n".join(content.get("text", "") for content in step["content"]) + "\n"
    return found


def sources(body: Body) -> set[str]:
    """The URLs that the output cites."""
    outputs = [step for step in body.get("steps") or [] if step["type"] == "model_output"]
    contents = [content for step in outputs for content in step["content"]]
    marks = [mark for content in contents for mark in content.get("annotations") or []]
    return {mark["url"] for mark in marks if mark["type"] == "url_citation"}


def words(told: str | None) -> list[str]:
    """A text without its images and its spacing, which the service writes in its own way."""
    return _IMAGE.sub(" ", told or "").split()
