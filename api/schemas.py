"""The answers' shapes, for the OpenAPI document. Answers are rendered elsewhere; tests hold the two together."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from worker.states import EVENT_TYPES, Status

StatusName = Annotated[
    Status, Field(description="Terminal: completed, failed, cancelled, incomplete, budget_exceeded, expired.")
]
EventType = Annotated[str, Field(description="What happened.", examples=[*EVENT_TYPES])]


class Fault(BaseModel):
    """One thing to mend in a request."""

    pointer: str = Field(description="JSON pointer (RFC 6901) into the body, or `/name` of a query parameter.")
    detail: str


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: str = Field(description="A URN that ends with the code.")
    title: str
    status: int
    detail: str
    code: str = Field(description="Stable, for programs.")
    request_id: str = Field(description="The same as in the header X-Request-Id, and in the service's log.")
    errors: list[Fault] = Field(default=[], description="With 422: one entry for each fault.")


class Substitution(BaseModel):
    """A deprecated id that was replaced."""

    from_: str = Field(alias="from")
    to: str
    reason: str


class Progress(BaseModel):
    """How the run goes, as far as the upstream tells."""

    upstream_status: str | None
    polls: int
    last_polled_at: datetime | None
    next_poll_at: datetime | None
    thought: str | None = Field(description="The latest thought summary.")


class Citation(BaseModel):
    """What a part of the text rests on; indexes count characters of `output_text`, the end excluded."""

    url: str | None = Field(description="Of a web page or a place; a cited file's URI, if it has one.")
    title: str | None = Field(description="Of a file its name and page.")
    start_index: int | None
    end_index: int | None


class Artifact(BaseModel):
    """A file that the job made; its bytes are at `url`."""

    id: int
    kind: Literal["image", "audio", "video", "document"]
    mime_type: str
    size: int = Field(description="Bytes.")
    url: str = Field(description="Raw sound (`audio/l16`) is playable with `?format=wav`.")


class FunctionCall(BaseModel):
    """A call that waits for its result."""

    id: str
    name: str
    arguments: dict[str, Any] | None


class RequiredAction(BaseModel):
    """What the job waits for, with status `requires_action`."""

    type: Literal["function_calls"]
    function_calls: list[FunctionCall]


class UpstreamFault(BaseModel):
    """The Gemini API's own words."""

    status: int | None
    code: str | None
    message: str | None


class JobError(BaseModel):
    """Why a job failed or expired."""

    code: str = Field(
        description="upstream_rejected, upstream_failed, upstream_unavailable, safety_blocked, create_unconfirmed, "
        "interaction_lost, deadline_exceeded, previous_job_failed, result_too_large or worker_lost."
    )
    message: str
    retryable: bool
    upstream: UpstreamFault | None


class JobLinks(BaseModel):
    """Where the job is, and what can be done with it now."""

    self_: str = Field(alias="self")
    events: str
    cancel: str
    deliveries: str
    report: str | None = Field(default=None, description="Where there is an output.")
    respond: str | None = Field(default=None, description="Where the job waits for function results.")
    plan: str | None = Field(default=None, description="Where the output is a research plan.")
    retry: str | None = Field(default=None, description="Where the job ended without completing.")


class Turn(BaseModel):
    """One attempt at one turn of a job: a create, and the interaction that it made."""

    turn: int
    attempt: int
    interaction_id: str | None = Field(description="Null where the answer to the create never came.")
    status: str | None = Field(description="The upstream's own word for how the interaction stood last.")
    sent_at: datetime | None
    usage: dict[str, Any] | None
    function_calls: list[FunctionCall] = Field(description="What the turn asked for, where it ended in calls.")


class Job(BaseModel):
    """A job. Times are RFC 3339 in UTC, durations seconds."""

    id: str
    object: Literal["job"]
    status: StatusName
    agent: str | None
    model: str | None
    created_at: datetime
    run_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    deadline_at: datetime | None = Field(description="When the present status ends at the latest.")
    interaction_id: str | None
    environment_id: str | None = Field(description="The environment that the run worked in.")
    previous_job_id: str | None
    retry_of: str | None
    conversation_id: str
    turn: int
    attempt: int
    substitutions: list[Substitution]
    notes: list[str]
    cancel_requested_at: datetime | None
    result_expires_at: datetime | None
    progress: Progress
    output_text: str | None
    output_json: Any = Field(
        description="The parsed output where `response_format` asked for JSON; whether it fits its schema, `notes` say."
    )
    citations: list[Citation]
    artifacts: list[Artifact]
    required_action: RequiredAction | None
    usage: dict[str, Any] | None
    error: JobError | None
    metadata: dict[str, str]
    labels: dict[str, str]
    priority: Literal["low", "normal", "high"]
    webhook_url: str | None
    links: JobLinks
    steps: list[dict[str, Any]] | None = Field(default=None, description="With `include=steps`.")
    input: Any = Field(default=None, description="With `include=input`: what the first turn was asked with.")
    turns: list[Turn] | None = Field(default=None, description="With `include=turns`.")


class _List(BaseModel):
    object: Literal["list"]
    has_more: bool
    next_cursor: str | None = Field(description="Give it back as `cursor` to get the next page.")


class JobList(_List):
    """A page of jobs, newest first, without their outputs."""

    data: list[Job]


class ConversationJob(Job):
    """A job of a thread, with the beginnings of what was asked and answered instead of its output."""

    input_excerpt: str | None = Field(description="The first 500 characters of what was asked.")
    output_excerpt: str | None = Field(description="The first 500 characters of the output.")


class JobBatch(BaseModel):
    """The jobs of a batch, in its order."""

    object: Literal["list"]
    data: list[Job]


class EventData(BaseModel):
    """The job as it was at the event, in short."""

    status: StatusName
    turn: int
    attempt: int
    interaction_id: str | None = None
    required_action: RequiredAction | None = Field(default=None, description="The calls of `job.requires_action`.")
    substitutions: list[Substitution] = Field(default=[], description="Where the id that was asked for is retired.")
    error: dict[str, Any] | None = None


class Event(BaseModel):
    """Something that happened to a job; `sequence` counts from 1 for each job."""

    id: str
    object: Literal["event"]
    type: EventType
    job_id: str
    sequence: int
    created_at: datetime
    data: EventData


class EventList(_List):
    """A page of events, oldest first."""

    data: list[Event]


class Attempt(BaseModel):
    """One POST to the receiver."""

    number: int
    at: datetime
    outcome: str = Field(description="ok, or the class of failure: http, dns, tls, connect, timeout, refused.")
    status: int | None = Field(description="The receiver's HTTP status.")
    latency_seconds: float
    response: str = Field(description="The first 1 KiB of the answer.")
    error: str | None


class Delivery(BaseModel):
    """One event on its way to one receiver."""

    id: str
    object: Literal["delivery"]
    job_id: str | None = Field(description="Null for `webhook.ping` and `endpoint.disabled`.")
    event_id: str = Field(description="What the receiver sees as `webhook-id`.")
    event_type: EventType | None = Field(description="Null where an older release wrote it and its job was deleted.")
    endpoint_id: str | None = Field(description="Null where it goes to a job's own URL.")
    url: str
    status: Literal["pending", "delivered", "exhausted", "held", "cancelled"]
    created_at: datetime
    next_attempt_at: datetime | None = Field(description="Null also while it waits for its endpoint to recover.")
    delivered_at: datetime | None
    attempt_count: int


class DeliveryDetail(Delivery):
    """A delivery with all its attempts."""

    attempts: list[Attempt]


class DeliveryList(_List):
    """A page of deliveries, newest first."""

    data: list[Delivery]


class AuditEntry(BaseModel):
    """Something that was done."""

    id: str
    object: Literal["audit_entry"]
    at: datetime
    action: str = Field(description="As `job.submit`, `job.cancel`, `key.revoke`, `gate.pause`.")
    actor: str = Field(description="A key's id, `cli:` and the name of whoever ran the command, or `settings`.")
    address: str | None = Field(description="Where the request came from; of a command the machine.")
    request_id: str | None
    subject: str | None = Field(description="The id of what it was done to; the first one of a batch.")
    number: int = Field(description="How many jobs at once.")


class AuditList(_List):
    """A page of what was done, newest first."""

    data: list[AuditEntry]


class File(BaseModel):
    """A file that the Gemini Files API keeps, for use in `input`."""

    object: Literal["file"]
    name: str = Field(description="Its name there.")
    uri: str = Field(description="What an `image`, `audio`, `video` or `document` content names.")
    mime_type: str
    size: int | None = Field(description="Bytes.")
    expires_at: datetime = Field(description="When the API forgets it.")


class WebhookSecret(BaseModel):
    """What signs the project's `webhook_url` deliveries (Standard Webhooks)."""

    secret: str


class Tokens(BaseModel):
    """Tokens by kind, under the names that a job's `usage` has; what is cached is part of the input."""

    total_input_tokens: int
    total_cached_tokens: int
    total_output_tokens: int
    total_thought_tokens: int
    total_tool_use_tokens: int
    total_tokens: int


class Conversation(BaseModel):
    """Jobs that build on one another: a page of them, oldest first."""

    object: Literal["conversation"]
    id: str
    created_at: datetime
    job_count: int
    usage: Tokens = Field(description="Of all of its jobs, deleted ones included.")
    upstream_expires_at: datetime | None = Field(
        description="Until when the last interaction is kept upstream and can be built on; null before there is one."
    )
    data: list[ConversationJob]
    has_more: bool
    next_cursor: str | None = Field(description="Give it back as `cursor` to get the next page.")
