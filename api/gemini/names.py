"""Ids as this door gives them: `job_…` for a job's first turn, `job_….N` for what its owner began with turn N."""

import re
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Path

from worker.errors import NotFound

_OURS = re.compile(r"(job_[0-9a-z]{1,40})(?:\.([1-9][0-9]{0,3}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Name:
    """A job and the turn with which an interaction of it begins."""

    job_id: str
    turn: int = 1

    def __str__(self) -> str:
        return self.job_id if self.turn == 1 else f"{self.job_id}.{self.turn}"


def read(text: str) -> Name | None:
    """The name that a text spells; None where it is none of ours: an interaction's id upstream, or nothing."""
    found = _OURS.fullmatch(text)
    return Name(found[1], int(found[2] or 1)) if found else None


async def _named(
    interaction_id: Annotated[
        str, Path(description="The interaction's id: `job_…`, or `job_….N` after function results.")
    ],
) -> Name:
    name = read(interaction_id)
    if name is None:
        raise NotFound("no such interaction")
    return name


Named = Annotated[Name, Depends(_named)]
