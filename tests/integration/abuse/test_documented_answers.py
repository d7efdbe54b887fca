"""Every call of the OpenAPI document, with whatever its schemas allow and forbid: only documented answers come back.

A real API process answers, before a database with jobs in many states, a worker and a simulator.
`make fuzz` throws much more, and not the same each time.
"""

import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
import requests
import schemathesis
from hypothesis import given
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.config import GenerationConfig, ProjectConfig, ProjectsConfig, SchemathesisConfig
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi import checks as promised

from api.examples import AGENT, CITY_TOOLS, MODEL
from tests import anything
from tests.stack import Stack
from tests.waiting import eventually

Operation = APIOperation[Any, Any, Any, Any]
EXAMPLES = 8
"""Of each kind, valid and not, for each call."""

DONE_S = 60.0
CALL_S = 60.0
CHECKS = [
    not_a_server_error,
    promised.status_code_conformance,
    promised.content_type_conformance,
    promised.response_schema_conformance,
    promised.response_headers_conformance,
]
PREFERENCES = st.sampled_from(["wait=0", "wait=1", "wait=61", "respond-async", 'wait="1"', "wait=\u00e9", "", ";,="])
UNBOUND = {405, 413}
"""What any path may answer beside what its call documents."""

ENVIRONMENT = {
    "NIGHTDESK_HOLD_S": "0.5",
    "NIGHTDESK_MAX_BODY_BYTES": "100000",
    **{f"NIGHTDESK_POLL_{kind}_{name}": "0.3" for kind in ("AGENT", "MODEL") for name in ("START_S", "CAP_S")},
}


@dataclass(frozen=True)
class Site:
    """An installation, and the ids that are in its database by name."""

    stack: Stack
    ended: list[str]
    deliveries: list[str]
    session: requests.Session


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    simulator = {"speed": 100}
    with (
        Stack(tmp_path_factory.mktemp("documented"), env=ENVIRONMENT, simulator=simulator) as stack,
        httpx2.Client(base_url=stack.url, headers=stack.headers, timeout=60) as client,
        requests.Session() as session,
    ):
        session.headers.update(stack.headers)
        yield Site(stack, *inhabit(client), session)


def inhabit(client: httpx2.Client) -> tuple[list[str], list[str]]:
    """Jobs with all that a job can have; gives back theirs and their deliveries' ids."""
    plan = {"agent": AGENT, "input": "Owls.", "agent_config": {"type": "deep-research", "collaborative_planning": True}}
    bodies: list[dict[str, Any]] = [
        {"model": MODEL, "input": "Say hello.", "webhook_url": "http://127.0.0.1:1/hook", "metadata": {"a": "b"}},
        {"model": "gemini-3-pro-image", "input": "An owl. [[sim: images=1]]"},
        {"model": MODEL, "input": "What is the weather in Bonn?", "tools": CITY_TOOLS},
        plan,
    ]
    taken = client.post("/v1/jobs/batch", json={"jobs": bodies}).json()["data"]
    ids = [job["id"] for job in taken]
    for job_id, status in zip(ids, ["completed", "completed", "requires_action", "completed"], strict=True):
        reached = lambda job_id=job_id, status=status: client.get(f"/v1/jobs/{job_id}").json()["status"] == status  # noqa: E731
        eventually(reached, within_s=DONE_S, what=status)
    assert client.post(f"/v1/jobs/{ids[2]}/cancel").status_code == 202
    deliveries = client.get(f"/v1/jobs/{ids[0]}/deliveries").json()["data"]
    return ids, [delivery["id"] for delivery in deliveries]


def operations(document: dict[str, Any]) -> dict[str, Operation]:
    """Every call of the document by its name."""
    for call in (call for calls in document["paths"].values() for call in calls.values()):
        for answer in call["responses"].values():
            # OpenAPI 3.1 has no words for single events; here a schema would be taken for theirs.
            answer.get("content", {}).get("text/event-stream", {}).pop("schema", None)
    generation = GenerationConfig(deterministic=anything.FUZZ == 1, with_security_parameters=False)
    config = SchemathesisConfig(projects=ProjectsConfig(default=ProjectConfig(generation=generation)))
    schema = schemathesis.openapi.from_dict(document, config=config)
    found = [each.ok() for each in schema.get_all_operations() if isinstance(each, Ok)]
    return {operation.label: operation for operation in found}


def test_every_call_answers_as_documented(site: Site) -> None:
    document = httpx2.get(f"{site.stack.url}/openapi.json", timeout=60).json()
    found = operations(document)
    assert len(found) >= 30

    failed = {
        f"{label}, {mode.value}": told
        for label, operation in found.items()
        for mode in modes(operation)
        if (told := thrown(site, operation, mode))
    }

    assert not failed, "\n".join(f"{call}:\n{told}" for call, told in failed.items())
    # Redis has 0.3 s to answer.
    eventually(lambda: httpx2.get(f"{site.stack.url}/readyz", timeout=60).json()["status"] == "ok")


def modes(operation: Operation) -> list[GenerationMode]:
    """Nothing can be wrong with a call that takes no more than ids and headers, which may be any text."""
    can_be_wrong = bool([*operation.query, *operation.body])
    return list(GenerationMode) if can_be_wrong else [GenerationMode.POSITIVE]


def thrown(site: Site, operation: Operation, mode: GenerationMode) -> str:
    """Throw one kind of requests at one call; says what came back that is not documented."""

    @anything.examples(EXAMPLES)
    @given(st.data())
    def throw(data: st.DataObject) -> None:
        case = data.draw(operation.as_strategy(mode))
        aim(site, case, data)

        answer = case.call(site.stack.url, session=site.session, timeout=CALL_S)

        if answer.status_code not in UNBOUND:
            case.validate_response(answer, checks=CHECKS)

    try:
        throw()
    except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001 - told, with all the others
        return "".join(traceback.format_exception_only(error))
    return ""


def aim(site: Site, case: Case[Any], data: st.DataObject) -> None:
    """Let many calls meet what is there, and none wait for long."""
    for name in case.path_parameters.keys() & {"job_id", "conversation_id", "interaction_id", "delivery_id"}:
        known = site.deliveries if name == "delivery_id" else site.ended
        if case.method != "DELETE":
            chosen = data.draw(st.sampled_from([*known, None]))
            case.path_parameters[name] = chosen or case.path_parameters[name]
    if "version" in case.path_parameters:
        case.path_parameters["version"] = data.draw(st.sampled_from(["v1", "v1beta", case.path_parameters["version"]]))
    if "Prefer" in case.headers:
        case.headers["Prefer"] = data.draw(PREFERENCES)
