"""What a client knows as one interaction: the turns of a job from one that its owner began to where he is asked again.

A turn that only goes on where the upstream's limit of one request stopped the last belongs to the same act.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlmodel import Session

from api.gemini.names import Name
from worker.errors import NotFound
from worker.models import Interaction, Job
from worker.states import SETTLED, TERMINAL
from worker.store import interactions, jobs, results

CONTINUED = "requires_continuation"
UNKNOWN = "no such interaction"


@dataclass(frozen=True, slots=True)
class Take:
    """What one turn gave: the interaction's own body without media, where those are, and the size of each."""

    raw: dict[str, Any] = field(repr=False)
    folder: str
    sizes: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Act:
    """One interaction as a client knows it, read from its job."""

    job: Job
    name: Name
    last_turn: int
    made_at: datetime
    previous: str | None
    run: int
    """How often the upstream failed it and it was run anew."""
    request: dict[str, Any] = field(default_factory=dict, repr=False)
    """The create body of its first turn, where it was read."""
    takes: Sequence[Take] = field(default=(), repr=False)
    usage: dict[str, Any] | None = None
    """What its last turn used, which may be known later than what it gave."""

    @property
    def is_present(self) -> bool:
        """Whether the job stands where this act ends; else it has gone on."""
        return self.last_turn == self.job.turn

    @property
    def has_ended(self) -> bool:
        """Whether its client is told its outcome: nothing of it will change any more."""
        return not self.is_present or self.job.status in SETTLED


def glance(session: Session, name: Name, project_id: str) -> Act:
    """The act without what was put in and what it gave, for who looks again and again; raises NotFound."""
    job = jobs.get(session, name.job_id, project_id)
    if job is None or name.turn > job.turn:
        raise NotFound(UNKNOWN)
    # Its first run has nothing before it that would have to be known.
    is_first = (job.turn, job.attempt) == (1, 1) and job.status not in SETTLED
    posts = [] if is_first else interactions.of_job(session, job.id)
    begun = beginnings(job, posts)
    if name.turn not in begun:
        raise NotFound(UNKNOWN)
    last_turn = next((turn - 1 for turn in begun if turn > name.turn), job.turn)
    made = next((post.created_at for post in posts if post.turn == name.turn), job.created_at)
    runs = [post.turn for post in posts if post.upstream_id and name.turn <= post.turn <= last_turn]
    return Act(
        job=job,
        name=name,
        last_turn=last_turn,
        made_at=job.created_at if name.turn == 1 else made,
        previous=_previous(session, job, name, begun),
        run=len(runs) - len(set(runs)),
        usage=next((post.usage for post in reversed(posts) if post.turn == last_turn), None),
    )


def load(session: Session, name: Name, project_id: str, now: datetime, *, with_input: bool = False) -> Act:
    """The act with what it gave; raises NotFound, also where that is past its retention, as the upstream does."""
    seen = glance(session, name, project_id)
    takes = _takes(session, seen.job, range(name.turn, seen.last_turn + (1 if seen.has_ended else 0)), now)
    if seen.job.status in TERMINAL and not takes and _is_past(seen.job, now):
        raise NotFound("the interaction is past its retention")
    # It may be megabytes, and is only needed beside what it led to.
    body = jobs.body(session, seen.job.id, name.turn) if takes or with_input else None
    return replace(seen, takes=takes, request=orjson.loads(body) if body else {})


def beginnings(job: Job, posts: Sequence[Interaction]) -> list[int]:
    """The turns that the job's owner began."""
    continued = {post.turn for post in posts if post.status == CONTINUED}
    return [turn for turn in range(1, job.turn + 1) if turn - 1 not in continued]


def newest(session: Session, job: Job) -> Name:
    """The act at which the job stands."""
    return Name(job.id, beginnings(job, interactions.of_job(session, job.id))[-1])


def _takes(session: Session, job: Job, turns: range, now: datetime) -> list[Take]:
    found = []
    for turn in turns:
        raw, outcome = results.raw(session, job.id, turn), results.outcome(session, job.id, turn)
        if raw is None or outcome is None or (job.status in TERMINAL and outcome[1] <= now):
            continue
        sizes = {artifact["id"]: artifact["size"] for artifact in outcome[0].get("artifacts") or ()}
        found.append(Take(orjson.loads(raw), outcome[0].get("folder") or "", sizes))
    return found


def _is_past(job: Job, now: datetime) -> bool:
    return job.finished_at is not None and job.finished_at + timedelta(days=job.retention_days) <= now


def _previous(session: Session, job: Job, name: Name, begun: Sequence[int]) -> str | None:
    """The interaction that this one goes on from, by the id under which its owner knows it."""
    if name.turn > 1:
        return str(Name(job.id, max(turn for turn in begun if turn < name.turn)))
    if job.previous_job_id is not None:
        before = jobs.get(session, job.previous_job_id, job.project_id)
        return str(newest(session, before)) if before else job.previous_job_id
    if job.previous_interaction_id is not None:
        return known_as(session, job.previous_interaction_id, job.project_id)
    return None


def known_as(session: Session, upstream_id: str, project_id: str) -> str:
    """An upstream id as this project knows it."""
    post = interactions.by_upstream_id(session, upstream_id)
    job = jobs.get(session, post.job_id, project_id) if post else None
    if post is None or job is None:
        return upstream_id
    begun = beginnings(job, interactions.of_job(session, job.id))
    return str(Name(job.id, max(turn for turn in begun if turn <= post.turn)))
