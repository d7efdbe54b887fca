"""Draft: a job as it is asked for, with everything refused that can be refused before anything is spent."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from itertools import islice
from typing import Any

import orjson

from worker import ids, options
from worker.context import Context
from worker.document import PRIORITIES
from worker.errors import MAX_FAULTS, AddressRefused, Fault, Invalid, pointer_to
from worker.flow import predecessor
from worker.gemini import agents, planning, request
from worker.gemini.catalog import Kind, Resolved
from worker.gemini.references import Reference, references_of
from worker.models import Job
from worker.states import Status
from worker.store import submissions
from worker.webhooks.address import check_url

_INTERACTION = request.FIELDS | request.RESERVED


@dataclass(frozen=True, slots=True)
class Draft:
    """A validated job, not yet written."""

    job: Job
    body: bytes
    at: str
    foreign_ids_allowed: bool
    references: tuple[Reference, ...] = ()
    lacks_environment: bool = False
    """It is to go on in the one that its predecessor leaves."""


def prepare(
    context: Context,
    fields: Mapping[str, Any],
    *,
    project_id: str,
    is_admin: bool,
    key_id: str | None = None,
    request_id: str | None = None,
    at: str = "",
    retry_of: str | None = None,
    webhook_config: dict[str, Any] | None = None,
) -> Draft:
    """Validate one job; raises Invalid with every fault, each pointer prefixed by `at`."""
    now = context.clock()
    chosen, faults = options.read(fields)
    body = {name: value for name, value in fields.items() if name not in options.NAMES}
    faults += unknown_fields(body, options.NAMES | _INTERACTION)
    altered = agents.prepended(body) if chosen.prepend_system_instruction else None
    body = altered or body
    kind: Kind = "agent" if body.get("agent") is not None else "model"
    resolved = Resolved("", ())
    lacks_environment = chosen.previous_job_id is not None and predecessor.lacks_environment(body)
    try:
        request.validate(_known(body | ({"environment": "remote"} if lacks_environment else {})))
        resolved = context.catalog.resolve(kind, body[kind], strict=chosen.strict_model)
    except Invalid as error:
        faults += [fault for fault in error.faults if fault.pointer not in {told.pointer for told in faults}]
    faults += contradictions(context, chosen, body)
    if faults:
        raise Invalid(*(Fault(at + fault.pointer, fault.detail) for fault in faults[:MAX_FAULTS]))
    origin = {"project_id": project_id, "key_id": key_id, "request_id": request_id, "retry_of": retry_of}
    noted = {"webhook_config": webhook_config, "notes": [agents.PREPENDED] if altered else []}
    job = submissions.new(**_fields(context, chosen, body, kind=kind, resolved=resolved, now=now), **origin, **noted)
    return Draft(
        job=job,
        body=orjson.dumps(body),
        at=at,
        foreign_ids_allowed=is_admin,
        references=references_of(body, context.settings.gemini),
        lacks_environment=lacks_environment,
    )


def _known(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name in _INTERACTION}


def unknown_fields(names: Iterable[str], known: Collection[str]) -> list[Fault]:
    """The faults of names that are none of those known, up to 50: to look for what is near takes its time."""
    return [unknown_field(name, known) for name in islice((name for name in names if name not in known), MAX_FAULTS)]


def unknown_field(name: str, known: Collection[str]) -> Fault:
    """The fault of a field that is none of those known, with the nearest name."""
    near = get_close_matches(name, known, n=1)
    hint = "send it in extra_body" if name in request.PASSED_ON else f"did you mean {near[0]}?" if near else ""
    return Fault(pointer_to([name[:64]]), "; ".join(filter(None, ["unknown field", hint])))


def contradictions(context: Context, chosen: options.Options, body: Mapping[str, Any]) -> list[Fault]:
    """What is wrong with fields that are each right by themselves."""
    faults = []
    if chosen.previous_job_id and body.get("previous_interaction_id"):
        faults.append(Fault("/previous_job_id", "not together with previous_interaction_id"))
    if chosen.webhook_events and not chosen.webhook_url:
        faults.append(Fault("/webhook_events", "needs a webhook_url"))
    if chosen.webhook_url:
        try:
            check_url(chosen.webhook_url, context.policy)
        except AddressRefused as error:
            faults.append(Fault("/webhook_url", str(error)))
    return faults


def _fields(
    context: Context, chosen: options.Options, body: Mapping[str, Any], *, kind: Kind, resolved: Resolved, now: datetime
) -> dict[str, Any]:
    job_id = ids.new("job", now)
    is_agent = kind == "agent"
    on_unknown_create = chosen.on_unknown_create or ("fail" if is_agent else "retry")
    return {
        "id": job_id,
        "status": Status.QUEUED,
        "kind": kind,
        "target": resolved.id,
        "priority": PRIORITIES.index(chosen.priority),
        "created_at": now,
        "run_at": chosen.run_at,
        "timeout_seconds": chosen.timeout_seconds or context.catalog.entry(kind, resolved.id).timeout_s,
        "queue_timeout_seconds": chosen.queue_timeout_seconds,
        "action_timeout_seconds": chosen.action_timeout_seconds,
        "max_attempts": chosen.max_attempts or (1 if is_agent else 3),
        "on_unknown_create": on_unknown_create,
        "strict_model": chosen.strict_model,
        "retention_days": chosen.retention_days or context.settings.result_retention_days,
        "is_planning": planning.is_planning(body),
        "previous_job_id": chosen.previous_job_id,
        "previous_interaction_id": body.get("previous_interaction_id"),
        "conversation_id": job_id,
        "webhook_url": chosen.webhook_url,
        "webhook_events": chosen.webhook_events,
        "user_metadata": chosen.metadata,
        "labels": body.get("labels") or {},
        "substitutions": [dict(substitution) for substitution in resolved.substitutions],
    }
