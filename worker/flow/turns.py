"""Turns: what a job asks for when it goes on, be it with its owner's answers or where the upstream stopped.

What an interaction was asked with holds for it alone (`upstream.md` 2.1), so every turn asks it again.
"""

from collections.abc import Mapping
from typing import Any

import orjson
from sqlmodel import Session

from worker.models import Job, JobInput

OF_ONE_TURN = frozenset({"input", "previous_interaction_id", "continuation_token"})


def following(body: Mapping[str, Any], job: Job, *, environment_id: str | None, **own: Any) -> dict[str, Any]:
    """The request of the turn after the job's present one, which was asked for with `body`; `own` is new in it.

    `environment_id` names the environment that the present turn worked in, if any.
    """
    kept = {name: value for name, value in body.items() if name not in OF_ONE_TURN}
    extra = kept.pop("extra_body", None) or {}
    if extra := {name: value for name, value in extra.items() if name not in OF_ONE_TURN}:
        kept["extra_body"] = extra
    if environment_id and (job.kind == "agent" or kept.get("environment") is not None):
        kept["environment"] = _resumed(kept.get("environment"), environment_id)
    return kept | {"previous_interaction_id": job.interaction_id} | own


def _resumed(asked: Any, environment_id: str) -> Any:
    """The environment itself in the place of the wish for a new one; its sources lie in it already."""
    if not isinstance(asked, Mapping):
        return environment_id
    return {name: value for name, value in asked.items() if name != "sources"} | {"environment_id": environment_id}


def write(session: Session, job: Job, body: Mapping[str, Any]) -> None:
    """Keep the request of the turn that a job has been moved to."""
    session.add(JobInput(job_id=job.id, turn=job.turn, body=orjson.dumps(body)))
    session.flush()
