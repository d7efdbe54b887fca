"""The shapes of answers about the service as a whole: what it knows, what was used, what there is to do, how it is."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from api import schemas


class CatalogLimits(BaseModel):
    """The most that one run may take; null: not known."""

    run_seconds: int | None
    input_tokens: int | None
    output_tokens: int | None


class CatalogCost(BaseModel):
    """What a run is said to cost, in US dollars: an estimate, no promise."""

    usd_from: float
    usd_to: float
    per: Literal["run"]
    source: str


class CatalogEntry(BaseModel):
    """A model or agent known by name; a deprecated id may be a shell pattern, with a replacement in place of facts."""

    kind: Literal["model", "agent"]
    id: str
    deprecated: bool
    family: str | None = None
    about: str | None = Field(default=None, description="What it is for.")
    abilities: list[str] | None = None
    inputs: list[str] | None = Field(default=None, description="Types of contents that it takes.")
    outputs: list[str] | None = Field(default=None, description="Types of contents that it makes.")
    tools: list[str] | None = Field(default=None, description="Types of tools that may be offered to it.")
    default_timeout_seconds: int | None = None
    typical_seconds: int | None = Field(default=None, description="Most runs have ended after so long.")
    limits: CatalogLimits | None = Field(default=None, description="The upstream's own.")
    cost: CatalogCost | None = None
    replacement: str | None = None
    reason: str | None = None


class Catalog(BaseModel):
    """Everything known; an id that is not here is passed on as it is."""

    object: Literal["list"]
    data: list[CatalogEntry]


class UsageSum(BaseModel):
    """What some interactions used together."""

    interactions: int = Field(description="Those that told what they used.")
    usage: schemas.Tokens


class UsageGroup(UsageSum):
    """What the interactions of one group used together."""

    group: str | int | None = Field(
        description="Job, conversation, key or target by its id, day as `YYYY-MM-DD`, or number of a turn."
        " Null: submitted without a key."
    )


class Usage(BaseModel):
    """A page of sums: days, jobs and conversations newest first, targets, keys and turns in their order."""

    object: Literal["list"]
    group_by: Literal["job", "target", "key", "day", "conversation", "turn"]
    from_: datetime = Field(alias="from")
    to: datetime
    data: list[UsageGroup]
    has_more: bool
    next_cursor: str | None = Field(description="Give it back as `cursor` to get the next page.")
    totals: UsageSum | None = Field(description="Everything in the range; on the first page only.")


class Stats(BaseModel):
    """The project's jobs now."""

    object: Literal["stats"]
    by_status: dict[str, int]
    by_target: dict[str, dict[str, int]] = Field(description="Model or agent → status → jobs.")
    oldest_queued_seconds: float | None
    in_flight: int
    due: int = Field(description="Running jobs whose interaction is due to be asked.")
    delivery_backlog: int


class Health(BaseModel):
    """The process answers."""

    status: Literal["ok"]


class Check(BaseModel):
    """One sign of life; what else it tells depends on the check."""

    status: Literal["ok", "degraded", "failed"]


class Readiness(BaseModel):
    """Whether the service can take and do work."""

    status: Literal["ok", "degraded"]
    checks: dict[str, Check]
