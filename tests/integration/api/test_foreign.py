"""Nothing of another project is readable, countable or guessable: every route of the OpenAPI document, foreign eyes.

What a foreign key is told of an id is what it is told of one that does not exist; what it is told without an id is what
the key of an empty project is told. `estate` says what there is to try.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import httpx2
import pytest

from api.app import RESOURCES
from tests.integration.api import estate
from tests.integration.api.estate import KEY, MARK, MODEL, Estate
from tests.integration.api.serving import Server, Tenant
from tests.overheard import overheard
from worker import ids

ID = re.compile(r"([a-z]{3})_[0-9a-z]{26}")
OPEN = {"/healthz", "/readyz", "/v1/upstream/gemini", "/v1/catalog"}
"""The same for everybody."""

OPERATORS = {"/metrics"}
"""For admins of the project `default`, and of the whole service: numbers without ids."""

OWN = {"/v1/webhook-secret", "/v1/webhook-secret/rotate"}
"""Differs from project to project by its nature: held against the rich project's own below."""

BENIGN = {"url", "webhook_url", "interaction_id", "file"}
"""Fields of bodies that name nothing of ours, or are tried by a test of their own."""

CHANGING = re.compile(
    r"\d{4}-\d\d-\d\dT[\d:.]+Z|req_[0-9a-f]{32}|(job|evt|aud|dlv|key|prj)_[0-9a-z]{26}(\.\d)?"
    r"|v1_interaction_job_\w+|\"(created|updated)\":\"[^\"]*\""
)
HEADERS = ("content-type", "cache-control", "location", "allow", "www-authenticate", "retry-after", "content-range")


@dataclass(frozen=True, slots=True)
class Call:
    """One operation of the document."""

    method: str
    path: str
    operation: dict[str, Any]

    @property
    def names(self) -> list[str]:
        return re.findall(r"{(\w+)}", self.path)

    @property
    def has_ids(self) -> bool:
        return any(name.endswith("_id") for name in self.names)

    @property
    def queries(self) -> list[str]:
        return [one["name"] for one in self.operation.get("parameters", ()) if one["in"] == "query"]

    def body(self) -> dict[str, Any]:
        """What to send: the document's own first example."""
        for media_type, content in self.operation.get("requestBody", {}).get("content", {}).items():
            if media_type == "application/json":
                return {"json": next(iter(content["examples"].values()))["value"]}
            return {"files": {"file": ("x.txt", b"x", "text/plain")}}
        return {}


@pytest.fixture
def rich(server: Server) -> Estate:
    return estate.rich(server)


def calls(server: Server) -> Iterator[Call]:
    for path, operations in server.contract.document["paths"].items():
        yield from (Call(method, path, operation) for method, operation in operations.items())


def told(answer: httpx2.Response) -> tuple[Any, ...]:
    """An answer without what differs from request to request."""
    headers = [CHANGING.sub("<>", answer.headers.get(name, "")) for name in HEADERS]
    return answer.status_code, headers, CHANGING.sub("<>", answer.text)


def ask(tenant: Tenant, call: Call, values: dict[str, str], query: str = "") -> httpx2.Response:
    path = call.path.format(**values) + (f"?{query}" if query else "")
    return tenant.http.request(call.method, path, **call.body())


def queries(call: Call, rich: Estate) -> Iterator[str]:
    """Nothing, each parameter alone with each of its values, and what goes together."""
    yield ""
    for name in call.queries:
        for value in rich.in_query[name]:
            yield value if name in {"metadata", "label"} else f"{name}={value}"
    if {"group_by", "job"} <= set(call.queries):
        yield f"group_by=turn&job={rich.jobs[0]}"
    if {"group_by", "cursor"} <= set(call.queries):
        yield f"group_by=job&cursor={rich.cursors['usage']}&from=2020-01-01T00:00:00Z"


def places(call: Call, rich: Estate) -> Iterator[dict[str, str]]:
    """Every combination of what the rich project has for the parameters of a path."""
    for chosen in product(*(rich.in_path[name] for name in call.names)):
        yield dict(zip(call.names, chosen, strict=True))


def nobody_s(values: dict[str, str]) -> dict[str, str]:
    """The same with ids that nobody has, of the same shape."""
    others = {name: ID.sub(lambda found: ids.new(found[1]), value) for name, value in values.items()}
    assert all(others[name] != value for name, value in values.items() if name.endswith("_id")), values
    return others


def test_a_foreign_id_is_as_unknown_as_one_that_nobody_has(server: Server, rich: Estate) -> None:
    stranger = server.tenant()
    before = estate.everything(server, rich.tenant.project_id)
    tried = 0

    for call in calls(server):
        for values in places(call, rich) if call.has_ids else ():
            for query in queries(call, rich):
                foreign = ask(stranger, call, values, query)
                unknown = ask(stranger, call, nobody_s(values), query)
                where = f"{call.method} {call.path} {values} {query}"
                assert told(foreign) == told(unknown), where
                assert foreign.status_code in {400, 404, 422}, where
                assert MARK not in foreign.text, where
                tried += 1

    assert tried > 100
    assert estate.everything(server, rich.tenant.project_id) == before


def test_a_foreign_id_asks_the_database_for_no_more_than_an_unknown_one(sqlite_server: Server) -> None:
    """So that the time an answer takes tells nothing."""
    rich, stranger = estate.rich(sqlite_server), sqlite_server.tenant()
    database = sqlite_server.context.database

    def asked(call: Call, values: dict[str, str]) -> list[str]:
        with overheard(database.reader) as read, overheard(database.engine) as written:
            ask(stranger, call, values)
        # When a key was last used is noted once in a while.
        return [statement for statement, _ in (*read, *written) if "api_key" not in statement]

    def differ(call: Call, values: dict[str, str]) -> bool:
        """Twice in a row: once it may be what the process does beside."""
        return all(asked(call, values) != asked(call, nobody_s(values)) for _ in range(3))

    for call in calls(sqlite_server):
        for values in places(call, rich) if call.has_ids else ():
            assert not differ(call, values), f"{call.method} {call.path} {values}"


def test_every_path_parameter_is_known_to_this_test(server: Server, rich: Estate) -> None:
    missing = {name for call in calls(server) for name in call.names} - rich.in_path.keys()
    queries_missing = {name for call in calls(server) for name in call.queries} - rich.in_query.keys()

    assert not missing, f"say in estate.py what {missing} would be of another project"
    assert not queries_missing, f"say in estate.py what {queries_missing} would be of another project"


def test_every_field_of_a_body_that_names_something_is_known_to_this_test(server: Server, rich: Estate) -> None:
    document = server.contract.document
    bodies = [call.operation["requestBody"]["content"] for call in calls(server) if "requestBody" in call.operation]
    names = {name for body in bodies for content in body.values() for name in fields(content["schema"], document)}
    naming = {name for name in names if re.search(r"_id$|_ids$|_of$|ur[il]s?$|environment|interaction|file", name)}

    assert len(names) > 30
    assert naming - rich.in_body.keys() == BENIGN, "say in estate.py what it would be of another project"


def fields(schema: dict[str, Any], document: dict[str, Any]) -> Iterator[str]:
    """The names of what a body may hold at its top, or of what it is a list of."""
    if "$ref" in schema:
        yield from fields(document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], document)
    for name, one in schema.get("properties", {}).items():
        yield name
        yield from fields(one.get("items", {}), document) if "$ref" in one.get("items", {}) else ()
    for part in (*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())):
        yield from fields(part, document)


def test_no_call_hides_from_the_walk(server: Server) -> None:
    """What the document does not have, nobody here tries: it may hold nothing of anybody's."""
    paths = {getattr(route, "path", "") for resource in RESOURCES for route in resource.router.routes}

    assert paths - server.contract.document["paths"].keys() == {"/", "/docs", "/openapi.json"}


def test_the_owner_is_told_of_all_that_strangers_are_not(server: Server, rich: Estate) -> None:
    """Else the walk would prove nothing."""
    reads = [call for call in calls(server) if call.method == "get" and call.has_ids]

    for call in reads:
        read = [values for values in places(call, rich) if _is_read(call, values, rich)]
        statuses = {ask(rich.tenant, call, values).status_code for values in read}
        assert 200 in statuses, call.path


def _is_read(call: Call, values: dict[str, str], rich: Estate) -> bool:
    """Streams of jobs that have not ended would be read for ever."""
    return not call.path.endswith("/events") or values["job_id"] == rich.jobs[0]


def test_lists_and_numbers_are_those_of_an_empty_project(server: Server, rich: Estate) -> None:
    stranger, blank = server.tenant(), server.tenant()
    paths = [
        call
        for call in calls(server)
        if call.method == "get" and not call.has_ids and call.path not in OPEN | OPERATORS | OWN
    ]
    assert {call.path for call in paths} >= {"/v1/jobs", "/v1/usage", "/v1/stats", "/v1/audit"}

    for call in paths:
        for values in places(call, rich):
            for query in queries(call, rich):
                answer, empty = ask(stranger, call, values, query), ask(blank, call, values, query)
                where = f"{call.path} {query}"
                assert told(answer) == told(empty), where
                found = [secret for secret in rich.secrets() if secret in answer.text and secret not in query]
                assert not found, where


def test_writes_without_an_id_touch_nothing_of_others(server: Server, rich: Estate) -> None:
    stranger = server.tenant()
    before = estate.everything(server, rich.tenant.project_id)
    writes = [call for call in calls(server) if call.method != "get" and not call.has_ids and call.path not in OPEN]

    for call in writes:
        for values in places(call, rich):
            answer = ask(stranger, call, values)
            assert answer.status_code != 500, call.path
            assert not [secret for secret in rich.secrets() if secret in answer.text], call.path

    assert estate.everything(server, rich.tenant.project_id) == before
    assert stranger.get("/v1/webhook-secret").json() != rich.tenant.get("/v1/webhook-secret").json()


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs/batch", "/gemini/v1/interactions"])
@pytest.mark.parametrize("field", ["previous_job_id", "previous_interaction_id", "environment", "input"])
def test_what_a_body_names_of_another_project_is_unknown(server: Server, rich: Estate, path: str, field: str) -> None:
    author = server.key(server.tenant().project_id, "jobs:read", "jobs:write")
    answers = []
    for value in rich.in_body[field]:
        job = {"agent": "antigravity-preview-05-2026"} if field == "environment" else {"model": MODEL}
        # At the door an interaction is named by its job.
        name = field.replace("job", "interaction") if "gemini" in path else field
        job |= {"input": "x", name: value}
        body = {"jobs": [job]} if path.endswith("batch") else {**job, "background": True} if "gemini" in path else job
        answer = author.post(path, body)
        text = answer.text.replace(str(value), "<>")
        answers.append((answer.status_code, CHANGING.sub("<>", text)))

    assert answers[0] == answers[1]
    assert answers[0][0] in {400, 404, 422}
    assert author.get("/v1/jobs").json()["data"] == []


def test_an_interaction_of_another_project_is_not_adopted(server: Server, rich: Estate) -> None:
    author = server.key(server.tenant().project_id, "jobs:read", "jobs:write")
    admin = server.tenant()

    foreign = author.post("/v1/jobs/adopt", {"interaction_id": rich.runs[0]})
    unknown = author.post("/v1/jobs/adopt", {"interaction_id": "v1_nobody-s"})
    by_admin = admin.post("/v1/jobs/adopt", {"interaction_id": rich.runs[0]})

    assert told(foreign) == told(unknown) == told(by_admin)
    assert foreign.status_code == 422


def test_an_idempotency_key_is_each_project_s_own(server: Server, rich: Estate) -> None:
    stranger = server.tenant()
    body = {"model": MODEL, "input": f"Tell of {MARK}."}
    headers = {"Idempotency-Key": KEY}

    made = stranger.post("/v1/jobs", {**body, "input": "something else"}, headers=headers)
    door = stranger.post("/gemini/v1/interactions", {**body, "background": True}, headers=headers)

    assert made.status_code == 202
    assert "Idempotent-Replayed" not in made.headers
    assert door.status_code == 200
    assert not {made.json()["id"], door.json()["id"]} & set(rich.jobs)
    assert {job["id"] for job in stranger.get("/v1/jobs").json()["data"]} == {made.json()["id"], door.json()["id"]}


def test_every_call_of_the_door_needs_its_scope(server: Server, rich: Estate) -> None:
    project_id = rich.tenant.project_id
    reader, author = server.key(project_id, "jobs:read"), server.key(project_id, "jobs:write")
    door = [call for call in calls(server) if call.path.startswith("/gemini/")]
    assert len(door) >= 4

    for call in door:
        without = author if call.method == "get" else reader
        values = next(places(call, rich)) if call.names else {}
        answer = ask(without, call, values)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "permission_denied"), call.path


def test_numbers_of_the_whole_service_are_for_its_operators(server: Server, rich: Estate) -> None:
    operator, admin = server.operator(), server.tenant()
    plain = server.key(operator.project_id, "jobs:read", "jobs:write", "webhooks:write")

    for path in OPERATORS:
        assert [key.get(path).status_code for key in (plain, admin)] == [403, 403]
        assert not [secret for secret in rich.secrets() if secret in operator.get(path).text]
