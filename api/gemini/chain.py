"""What a create's `previous_interaction_id` comes to: another job after that one, or the next turn of the same one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlmodel import Session

from api.gemini import act, names
from api.gemini.names import Name
from worker.errors import Conflict, NotFound
from worker.gemini.result import RESULTS
from worker.models import Job
from worker.states import TERMINAL, Status
from worker.store import interactions, jobs, submissions

FOLLOWS, BRANCHES_OFF = "previous_job_id", "previous_interaction_id"


@dataclass(frozen=True, slots=True)
class Next:
    """How a create goes on: by a job with these fields, by answering a turn, or as what its answer made before."""

    fields: Mapping[str, str] = field(default_factory=dict)
    answers: Name | None = None
    made: Name | None = None


def answers_path(name: Name) -> str:
    """Under which the answers to a turn are remembered: the same one sent again is the same turn."""
    return f"/gemini/interactions/{name}#answers"


def resolve(session: Session, previous: str, key: str, project_id: str) -> Next:
    """How to go on from `previous` with what is sent under this key; raises NotFound, Conflict."""
    name = names.read(previous)
    if name is None:
        return Next({BRANCHES_OFF: previous})
    job = jobs.get(session, name.job_id, project_id)
    begun = act.beginnings(job, interactions.of_job(session, job.id)) if job else []
    if job is None or name.turn not in begun:
        raise NotFound(f"no such interaction: {name}")
    if name.turn != begun[-1]:
        after = Name(job.id, next(turn for turn in begun if turn > name.turn))
        was_sent = submissions.held(session, project_id, answers_path(name), key) is not None
        return Next(made=after) if was_sent else Next({BRANCHES_OFF: _upstream_id(session, job, after)})
    if job.status == Status.REQUIRES_ACTION:
        return Next(answers=name)
    if job.status not in TERMINAL:
        raise Conflict(f"the interaction {name} is still in progress; wait until it has ended")
    return Next({FOLLOWS: job.id})


def as_results(content: Any) -> Any:
    """An input of one result alone is a list of one."""
    return [content] if isinstance(content, dict) and content.get("type") in RESULTS else content


def _upstream_id(session: Session, job: Job, after: Name) -> str:
    """The interaction in which the act before this one ended: another conversation branches off there."""
    posts = [post for post in interactions.of_job(session, job.id) if post.turn == after.turn - 1 and post.upstream_id]
    if not posts:
        raise Conflict("that interaction cannot be gone on from any more")
    return posts[-1].upstream_id or ""
