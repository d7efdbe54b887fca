"""What clients may say of jobs, beside the interaction itself, and of webhook endpoints: types, limits and defaults."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from worker.errors import MAX_FAULTS, Fault, Invalid, pointer_to
from worker.states import EVENT_TYPES, SUBSCRIBABLE

DAY_S = 86_400
MAX_KEYS = 16


def _no_nul(text: str) -> str:
    if "\x00" in text:
        raise ValueError("must not contain NUL")
    return text


def _few(given: object) -> object:
    """Asked first: otherwise every key and value would be complained of, too."""
    if isinstance(given, dict) and len(given) > MAX_KEYS:
        raise ValueError(f"must not have more than {MAX_KEYS} keys")
    return given


def _one_of(names: Sequence[str]) -> AfterValidator:
    def check(name: str) -> str:
        if name not in names:
            raise ValueError(f"is none of {', '.join(names)}")
        return name

    return AfterValidator(check)


def in_utc(moment: datetime) -> datetime:
    """The same moment in UTC; raises ValueError where it is out of the calendar there."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("is out of range") from None


Key = Annotated[str, StringConstraints(min_length=1, max_length=64), AfterValidator(_no_nul)]
Value = Annotated[str, StringConstraints(max_length=512), AfterValidator(_no_nul)]
Seconds = Annotated[float, Field(gt=0)]


class Options(BaseModel):
    """What a client may say about a job beside the interaction itself. Durations are seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    webhook_url: Annotated[str, StringConstraints(min_length=1, max_length=2048)] | None = None
    webhook_events: Annotated[list[Annotated[str, _one_of(EVENT_TYPES)]], Field(max_length=32)] | None = None
    metadata: Annotated[dict[Key, Value], Field(max_length=MAX_KEYS), BeforeValidator(_few)] = {}
    priority: Literal["low", "normal", "high"] = "normal"
    run_at: Annotated[AwareDatetime, Field(strict=False), AfterValidator(in_utc)] | None = None
    timeout_seconds: Annotated[Seconds, Field(le=DAY_S)] | None = None
    queue_timeout_seconds: Annotated[Seconds, Field(le=90 * DAY_S)] = 7 * DAY_S
    action_timeout_seconds: Annotated[Seconds, Field(le=30 * DAY_S)] = DAY_S
    previous_job_id: Annotated[str, StringConstraints(max_length=64)] | None = None
    on_unknown_create: Literal["retry", "fail"] | None = None
    max_attempts: Annotated[int, Field(ge=1, le=10)] | None = None
    strict_model: bool = False
    prepend_system_instruction: bool = False
    retention_days: Annotated[int, Field(ge=1, le=90)] | None = None


NAMES = frozenset(Options.model_fields)

ADOPTION = frozenset(
    {
        "webhook_url",
        "webhook_events",
        "metadata",
        "priority",
        "timeout_seconds",
        "action_timeout_seconds",
        "retention_days",
    }
)
"""Those that mean something for an interaction that was made elsewhere."""


class Endpoint(BaseModel):
    """What a client may say about a webhook endpoint. `events` None: all of them."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    url: Annotated[str, StringConstraints(min_length=1, max_length=2048)]
    events: Annotated[list[Annotated[str, _one_of(SUBSCRIBABLE)]], Field(min_length=1, max_length=32)] | None = None
    description: Annotated[str, StringConstraints(max_length=512), AfterValidator(_no_nul)] | None = None
    headers: Annotated[dict[str, str], Field(max_length=20)] | None = None


class EndpointChange(Endpoint):
    """What of an endpoint may be changed: what is not given stays as it is."""

    url: Annotated[str, StringConstraints(min_length=1, max_length=2048)] = ""
    enabled: bool = True


class Replay(BaseModel):
    """Since when failed deliveries are sent once more."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    since: Annotated[AwareDatetime, Field(strict=False), AfterValidator(in_utc)]


Asked = TypeVar("Asked", Endpoint, EndpointChange, Replay)


def asked(model: type[Asked], fields: Mapping[str, Any]) -> Asked:
    """A whole body; raises Invalid with every fault."""
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise Invalid(*_faults(error)) from None


def read(fields: Mapping[str, Any]) -> tuple[Options, list[Fault]]:
    """The options in a submission's fields, and up to 50 faults in them (then the options are the defaults)."""
    try:
        return Options.model_validate({name: value for name, value in fields.items() if name in NAMES}), []
    except ValidationError as error:
        return Options(), _faults(error)


def _faults(error: ValidationError) -> list[Fault]:
    found = error.errors(include_input=False, include_url=False)[:MAX_FAULTS]
    return [
        Fault(pointer_to(part for part in one["loc"] if part != "[key]"), one["msg"].removeprefix("Value error, "))
        for one in found
    ]
