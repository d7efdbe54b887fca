"""An act as the upstream would show it: its own body where there is one, under our id; else what is known so far."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import reduce
from typing import Any

from api.gemini.act import CONTINUED, Act
from worker.gemini.media import KINDS
from worker.gemini.usage import total
from worker.states import Status

Json = dict[str, Any]

RUNNING = "in_progress"
"""Also for a job that still waits: programs after Google's samples stop looking at anything else, `queued` included."""

WORDS: Mapping[str, str] = {
    Status.REQUIRES_ACTION: "requires_action",
    Status.COMPLETED: "completed",
    Status.FAILED: "failed",
    Status.CANCELLED: "cancelled",
    Status.INCOMPLETE: "incomplete",
    Status.BUDGET_EXCEEDED: "budget_exceeded",
    Status.EXPIRED: "failed",
}
"""The upstream's word for each of our statuses in which nothing runs any more."""

CONTENTS = ("text", *KINDS)

ENDS = frozenset(WORDS.values()) - {"requires_action"}


def head(act: Act, status: str) -> Json:
    """What every form of an interaction carries, also in events."""
    job = act.job
    ended_at = job.finished_at if act.is_present else None
    known: Json = {"labels": job.labels} if job.labels else {}
    if act.previous is not None:
        known["previous_interaction_id"] = act.previous
    if job.webhook_config is not None:
        known["webhook_config"] = job.webhook_config
    return {
        "id": str(act.name),
        "object": "interaction",
        "status": status,
        job.kind: job.target,
        "created": stamp(act.made_at),
        "updated": stamp(ended_at or act.made_at),
        **known,
    }


def render(act: Act, *, is_fresh: bool, with_input: bool = False) -> Json:
    """The interaction; a fresh one, the answer of a create, lacks what its user put in."""
    status = status_of(act)
    body = _whole(act, status) if act.has_ended and act.takes else head(act, status)
    if status == "failed":
        body["errors"] = body.get("errors") or errors_of(act)
    if is_fresh and steps_of(body):
        body["steps"] = made_steps(act, body["steps"])
    if with_input:
        body["input"] = act.request.get("input")
    return body


def status_of(act: Act) -> str:
    """The upstream's word for how this act stands."""
    if not act.has_ended:
        return RUNNING
    said = act.takes[-1].raw.get("status") if act.takes else None
    if not act.is_present:
        return said or WORDS[Status.REQUIRES_ACTION]
    word = WORDS[act.job.status]
    # What the upstream says of its own end is nearer to the truth, but for what we ended while it waited for somebody.
    is_theirs = said in ENDS and act.job.status != Status.EXPIRED
    return str(said) if is_theirs or (said == CONTINUED and word == "incomplete") else word


def errors_of(act: Act) -> list[Json]:
    """Why it failed, where the upstream did not say it."""
    error = act.job.error or {}
    told = error.get("upstream") or {}
    code, message = told.get("code") or error.get("code"), told.get("message") or error.get("message")
    return [{"code": code or "api_error", "message": message or f"the job is {act.job.status}"}]


def stamp(moment: datetime) -> str:
    """A moment as the upstream writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _whole(act: Act, status: str) -> Json:
    """The last turn's own body, with the steps and the usage of all."""
    raws = [take.raw for take in act.takes]
    ours = head(act, status)
    body = {**raws[-1], "id": ours["id"], "status": status}
    for name in ("previous_interaction_id", "webhook_config"):
        body.pop(name, None)
        if name in ours:
            body[name] = ours[name]
    if len(raws) > 1:
        body["steps"] = [step for raw in raws for step in steps_of(raw)]
        body["usage"] = reduce(total, (raw.get("usage") for raw in raws))
    elif act.usage is not None and not body.get("usage"):
        body["usage"] = act.usage
    if status != CONTINUED:
        body.pop("continuation_token", None)
    return body


def steps_of(body: Json) -> list[Any]:
    """The steps of a body, whatever it holds."""
    steps = body.get("steps")
    return steps if isinstance(steps, list) else []


def made_steps(act: Act, steps: list[Any]) -> list[Any]:
    """The steps without those at the beginning that repeat the input."""
    given = act.request.get("input")
    kinds = [_type(step) for step in given] if isinstance(given, list) else []
    if not given or not kinds or kinds[0] in CONTENTS:
        kinds = ["user_input"]
    number = 0
    while number < min(len(kinds), len(steps)) and _type(steps[number]) == kinds[number]:
        number += 1
    return steps[number:]


def _type(step: Any) -> Any:
    return step.get("type") if isinstance(step, dict) else None
