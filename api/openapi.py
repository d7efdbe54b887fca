"""The OpenAPI document: what each call answers, with an example for each answer and each error."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.routing import BaseRoute

from api import bodies, endpoint, errors, figures, schemas
from api.errors import TABLE, Answer, PayloadTooLarge, RangeNotSatisfiable, RateLimited
from api.schemas import Problem
from worker.errors import (
    BadRequest,
    Conflict,
    EventRefused,
    Fault,
    Forbidden,
    Gone,
    IdempotencyReused,
    Invalid,
    NightdeskError,
    NotFound,
    QuotaExceeded,
    Unauthenticated,
    Unavailable,
)

Responses = dict[int | str, dict[str, Any]]

KEY_SCHEME = "ApiKey"
KEY = {"type": "http", "scheme": "bearer", "description": "An API key: `Authorization: Bearer nd_…`."}
REF = "#/components/schemas/{model}"
KEYED: tuple[type[NightdeskError], ...] = (Unauthenticated, Forbidden, RateLimited, Unavailable)
"""What every call with a key may answer."""

SPENDING: tuple[type[NightdeskError], ...] = (
    *KEYED,
    BadRequest,
    PayloadTooLarge,
    Invalid,
    IdempotencyReused,
    Gone,
    QuotaExceeded,
)
"""What every call that may spend may answer."""

DETAILS: Mapping[type[NightdeskError], str] = {
    BadRequest: "the body is not JSON: unexpected character at line 1, column 1",
    EventRefused: "the signature does not fit the body",
    Unauthenticated: "this API key does not exist, was revoked or has expired",
    Forbidden: "this API key lacks the scope jobs:write",
    NotFound: "no such job",
    Conflict: "the job is completed",
    Gone: "the result is past its retention",
    PayloadTooLarge: "the body may have at most 20971520 bytes",
    RangeNotSatisfiable: "there are 48211 bytes",
    Invalid: "1 fault",
    IdempotencyReused: "this Idempotency-Key was used with another body",
    RateLimited: "this API key may make 6,000 submissions a minute",
    QuotaExceeded: "too many jobs are waiting to be started",
    Unavailable: "the database does not answer (OperationalError)",
}
ERROR_HEADERS: Mapping[int, Mapping[str, str]] = {
    401: {"WWW-Authenticate": "Always `Bearer`."},
    405: {"Allow": "The methods of this path."},
    416: {"Content-Range": "How many bytes there are: `bytes */N`."},
    429: {
        "Retry-After": "Seconds.",
        "RateLimit-Limit": "How many there may be.",
        "RateLimit-Remaining": "How many there may yet be.",
        "RateLimit-Reset": "Seconds until it is worth another try.",
    },
    503: {"Retry-After": "Seconds."},
}


@dataclass(frozen=True, kw_only=True)
class Ok:
    """One good answer of a call."""

    about: str
    status: int = 200
    schema: type[BaseModel] | None = None
    example: Any = None
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    others: Mapping[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """As the specification writes it."""
        found: dict[str, Any] = {"description": self.about}
        if self.schema is not None:
            found["content"] = {self.media_type: {"schema": ref(self.schema), "example": self.example}}
        elif self.example is not None:
            found["content"] = {self.media_type: {"schema": {"type": "string"}, "example": self.example}}
        for media_type, example in self.others.items():
            found["content"][media_type] = {"schema": {"type": "string"}, "example": example}
        if self.headers:
            found["headers"] = _headers(self.headers)
        return found


def answers(*good: Ok, fails: Iterable[type[NightdeskError]] = ()) -> Responses:
    """All answers of a call, for its `responses`."""
    found: Responses = {one.status: one.document() for one in good}
    for kind in dict.fromkeys(fails):
        answer = TABLE[kind]
        one = found.setdefault(answer.status, _failure(answer))
        one["content"][errors.MEDIA_TYPE]["examples"][answer.code] = {
            "summary": answer.title,
            "value": problem(kind),
        }
    return found


def _failure(answer: Answer) -> dict[str, Any]:
    content = {errors.MEDIA_TYPE: {"schema": ref(Problem), "examples": {}}}
    return {"description": answer.title, "content": content, **error_headers(answer.status)}


def error_headers(status: int) -> dict[str, Any]:
    """The headers that an error of this status has, for its documentation."""
    headers = ERROR_HEADERS.get(status)
    return {"headers": _headers(headers)} if headers else {}


def problem(kind: type[NightdeskError]) -> dict[str, Any]:
    """An example of an error."""
    faults = [Fault("/input", "is required")] if kind is Invalid else []
    return errors.document(TABLE[kind], DETAILS[kind], request_id="req_01kqzv7kx0d4h8m2q6t9w3z5b1", errors=faults)


def body(schema: str, examples: Mapping[str, tuple[str, Any]]) -> dict[str, Any]:
    """A JSON body, for a call's `openapi_extra`: it is read and checked elsewhere."""
    named = {name: {"summary": summary, "value": value} for name, (summary, value) in examples.items()}
    content = {"application/json": {"schema": {"$ref": REF.format(model=schema)}, "examples": named}}
    return {"requestBody": {"required": True, "content": content}}


def header(name: str, about: str, example: str) -> dict[str, Any]:
    """A request header that a handler reads by itself."""
    schema = {"type": "string"}
    return {"name": name, "in": "header", "required": False, "description": about, "schema": schema, "example": example}


def pairs(name: str, about: str) -> dict[str, Any]:
    """Query parameters written `name[key]=value` that a handler reads by itself."""
    schema = {"type": "object", "additionalProperties": {"type": "string"}}
    return {"name": name, "in": "query", "style": "deepObject", "explode": True, "description": about, "schema": schema}


def ref(schema: type[BaseModel]) -> dict[str, str]:
    """Where the document keeps a schema."""
    return {"$ref": REF.format(model=schema.__name__)}


def _headers(about: Mapping[str, str]) -> dict[str, Any]:
    return {name: {"description": text, "schema": {"type": "string"}} for name, text in about.items()}


IDEMPOTENCY_KEY = header(
    "Idempotency-Key",
    "Up to 255 printable characters. The same key and body again answer the same job: nothing is bought twice.",
    "report-2026-11-21",
)
PREFER = header(
    "Prefer", "`wait=N`: answer 200 with the job once it has ended or needs an action, for up to N ≤ 60 s.", "wait=30"
)


def install(app: FastAPI, about: str, routes: Sequence[BaseRoute]) -> None:
    """Make the document from the routes, once."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            found = get_openapi(
                title=app.title, version=app.version, description=about, routes=app.routes, summary=app.summary
            )
            components = found.setdefault("components", {})
            components["schemas"] = dict(sorted(_schemas().items()))
            components["securitySchemes"] = {KEY_SCHEME: KEY}
            for route in routes:
                if isinstance(route, APIRoute) and route.include_in_schema:
                    _tell_answers(found["paths"][route.path_format], route)
            app.openapi_schema = found
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _tell_answers(operations: dict[str, Any], route: APIRoute) -> None:
    """The answers as written: the framework leaves nulls out of examples, and adds its own shape for bad parameters."""
    for method in route.methods or ():
        operation = operations[method.lower()]
        operation["responses"] = {str(status): route.responses[status] for status in sorted(route.responses, key=str)}
        if "401" in operation["responses"]:
            operation["security"] = [{KEY_SCHEME: []}]


def _schemas() -> dict[str, Any]:
    named = [value for part in (schemas, figures, endpoint) for value in vars(part).values()]
    models = {model for model in named if isinstance(model, type) and issubclass(model, BaseModel)}
    wanted = [(model, "serialization") for model in models if model is not BaseModel and model.__name__[0] != "_"]
    _, found = models_json_schema(wanted, ref_template=REF)  # type: ignore[arg-type]
    definitions: dict[str, Any] = found["$defs"]
    return {**definitions, **bodies.components()}
