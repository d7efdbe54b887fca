"""The OpenAPI document and what it describes are held together."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from api import bodies, schemas
from api.app import build
from api.errors import TABLE
from worker import document, options
from worker.document import NO_OUTPUT
from worker.errors import NightdeskError
from worker.flow import adopt
from worker.gemini.request import FIELDS
from worker.models import Job
from worker.settings import Settings
from worker.states import EVENT_TYPES, Status

DOCUMENT: dict[str, Any] = build(Settings(_env_file=None)).openapi()
DOOR = "/gemini/{version}/interactions"
SPENDING = {"/v1/jobs", "/v1/jobs/batch", "/v1/jobs/adopt", DOOR} | {
    f"/v1/jobs/{{job_id}}/{call}" for call in ("retry", "respond", "plan")
}
PUBLIC = {"/healthz", "/readyz", "/v1/upstream/gemini"}


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, found in DOCUMENT["paths"].items():
        for method, operation in found.items():
            yield path, method, operation


EACH_CALL = pytest.mark.parametrize(("path", "method", "operation"), [*operations()])


def contents(operation: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    places = {"request": operation.get("requestBody", {}), **operation["responses"]}
    for place, answer in places.items():
        for media_type, content in answer.get("content", {}).items():
            yield place, media_type, content


def examples(content: dict[str, Any]) -> list[Any]:
    return [one["value"] for one in content.get("examples", {}).values()] or [content["example"]]


@EACH_CALL
def test_every_example_is_valid(path: str, method: str, operation: dict[str, Any]) -> None:
    del path, method
    for _, _, content in contents(operation):
        whole = {**content["schema"], "components": DOCUMENT["components"]}
        for example in examples(content):
            Draft202012Validator(whole).validate(example)


@EACH_CALL
def test_every_call_is_told_in_full(path: str, method: str, operation: dict[str, Any]) -> None:
    assert operation["summary"]
    assert operation["description"]
    assert {"200", "201", "202", "204"} & operation["responses"].keys()
    wanted = set() if path in PUBLIC else {"401", "403", "503"}
    assert wanted <= operation["responses"].keys()
    assert bool(operation.get("security")) == (path not in PUBLIC)
    names = {parameter["name"] for parameter in operation.get("parameters", [])}
    assert ("Idempotency-Key" in names) == (path in SPENDING and method == "post")
    for status, media_type, content in contents(operation):
        if path.startswith(DOOR):
            assert (content["schema"].get("title") == "GeminiError") == (status[:1] in "45")
        else:
            assert (media_type == "application/problem+json") == (status[:1] in "45")
        assert examples(content)


def test_every_error_has_an_example_somewhere() -> None:
    shown = {
        name
        for _, _, operation in operations()
        for _, media_type, content in contents(operation)
        if media_type == "application/problem+json"
        for name in content["examples"]
    }

    assert shown == {answer.code for answer in TABLE.values()}


def test_no_reference_leads_nowhere() -> None:
    text = str(DOCUMENT)
    named = {part.split("'")[0] for part in text.split("#/components/schemas/")[1:]}

    assert named == DOCUMENT["components"]["schemas"].keys() & named
    assert "HTTPValidationError" not in text


def job() -> Job:
    return Job(
        id="job_1",
        project_id="prj_1",
        status=Status.QUEUED,
        kind="model",
        target="m",
        priority=1,
        created_at=datetime.now(UTC),
        timeout_seconds=1,
        queue_timeout_seconds=1,
        action_timeout_seconds=1,
        max_attempts=1,
        on_unknown_create="retry",
        retention_days=30,
        conversation_id="job_1",
        user_metadata={},
        labels={},
        substitutions=[],
        notes=[],
    )


def test_the_documented_job_is_the_rendered_job() -> None:
    rendered = document.render(job(), NO_OUTPUT)
    properties = DOCUMENT["components"]["schemas"]["Job"]["properties"]

    assert rendered.keys() == properties.keys() - {"steps", "input", "turns"}
    assert rendered["progress"].keys() == schemas.Progress.model_fields.keys()


def test_the_documented_body_has_every_field_that_is_read() -> None:
    documented = bodies.components()[bodies.JOB]["properties"]

    assert documented.keys() == options.NAMES | FIELDS | {"background", "store"}
    assert all(
        "description" in field or name == "safety_settings" or "examples" in field for name, field in documented.items()
    )


def test_the_documented_adoption_has_every_field_that_is_read() -> None:
    documented = bodies.components()[bodies.ADOPT]["properties"]

    assert documented.keys() == options.ADOPTION | {adopt.INTERACTION}
    assert all("description" in field for field in documented.values())


def test_every_status_and_event_is_documented() -> None:
    components = DOCUMENT["components"]["schemas"]

    assert set(components["Status"]["enum"]) == set(Status)
    assert components["Event"]["properties"]["type"]["examples"] == list(EVENT_TYPES)


def test_codes_and_statuses_are_those_of_the_contract() -> None:
    found = {(answer.status, answer.code) for answer in TABLE.values()}

    assert found == {
        (400, "bad_request"),
        (401, "unauthenticated"),
        (403, "forbidden"),
        (404, "not_found"),
        (409, "conflict"),
        (410, "gone"),
        (413, "payload_too_large"),
        (416, "range_not_satisfiable"),
        (422, "invalid_request"),
        (422, "idempotency_key_reused"),
        (429, "rate_limited"),
        (429, "quota_exceeded"),
        (503, "unavailable"),
    }
    assert all(issubclass(kind, NightdeskError) for kind in TABLE)
