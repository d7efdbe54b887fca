"""The shape of `catalog.json` and of an operator's override of it, read and checked: data only, no look-ups."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Literal

import orjson
from pydantic import ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked

from worker.errors import SettingsError

Kind = Literal["model", "agent"]
Words = tuple[str, ...]
Name = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Seconds = Annotated[int, Field(ge=1, le=86_400)]

FAULTS_TOLD = 5
_STRICT = ConfigDict(extra="forbid")


@checked(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Pace:
    """How a kind of run is waited for: its default timeout, its class of poll schedule, when it counts as stalled."""

    timeout_s: Seconds
    poll: Kind
    stalled_after_s: Seconds


@checked(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Limits:
    """The upstream's own limits of one run."""

    run_s: Seconds | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


@checked(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Cost:
    """What a run is said to cost, and by whom."""

    usd_from: float
    usd_to: float
    per: Literal["run"]
    source: str


@checked(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Family:
    """What models or agents of one family have in common."""

    abilities: Words = ()
    inputs: Words = ()
    outputs: Words = ()
    tools: Words = ()


@checked(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Line:
    """One id as the file writes it; what it leaves out comes from its family or the defaults of its kind."""

    kind: Kind
    id: Name
    family: str
    about: str = ""
    abilities: Words | None = None
    inputs: Words | None = None
    outputs: Words | None = None
    tools: Words | None = None
    typical_s: Seconds | None = None
    limits: Limits | None = None
    cost: Cost | None = None
    timeout_s: Seconds | None = None
    poll: Kind | None = None
    stalled_after_s: Seconds | None = None


@checked(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Retired:
    """Ids that are not to be used any more (a shell pattern) and what replaces them; `to` null keeps them in use."""

    kind: Kind
    pattern: Name
    to: Name | None
    reason: str = ""


@checked(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Document:
    """The whole file; an override may leave out any part."""

    defaults: Mapping[Kind, Pace] | None = None
    families: Mapping[str, Family] | None = None
    entries: tuple[Line, ...] = ()
    retired: tuple[Retired, ...] = ()


@cache
def shipped() -> Document:
    """The tables of this release."""
    text = files(__package__).joinpath("catalog.json").read_bytes()
    return _adapter().validate_python(orjson.loads(text))


def read(value: Any) -> Document:
    """An operator's override; raises SettingsError that names each place and what is wrong there."""
    try:
        return _adapter().validate_python(value)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        told = [f"{'/'.join(map(str, fault['loc'])) or '(the whole)'}: {fault['msg']}" for fault in faults]
        more = f"; and {len(told) - FAULTS_TOLD} more" if len(told) > FAULTS_TOLD else ""
        raise SettingsError(f"the catalog override is not valid: {'; '.join(told[:FAULTS_TOLD])}{more}") from None


@cache
def _adapter() -> TypeAdapter[Document]:
    return TypeAdapter(Document)
