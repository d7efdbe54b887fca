"""Registered webhook endpoints, as their owner sees them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from standardwebhooks import Webhook

from tests.integration.api.engine import Worker
from tests.integration.api.serving import Server, Tenant
from worker.flow import endpoints as flow
from worker.models import WebhookEndpoint
from worker.states import SUBSCRIBABLE
from worker.store import deliveries, endpoints, waiting

PATH = "/v1/webhooks"
HOOK = "https://hooks.example.com/x?token=mine"
HEADERS = {"Authorization": "Bearer canary"}


def register(tenant: Tenant, **fields: Any) -> dict[str, Any]:
    answer = tenant.post(PATH, {"url": HOOK, **fields})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"{PATH}/{found['id']}"
    return found


def row(server: Server, endpoint_id: str) -> WebhookEndpoint:
    with server.context.database.read() as session:
        return session.get_one(WebhookEndpoint, endpoint_id)


def pointers(answer: Any) -> list[str]:
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    return [fault["pointer"] for fault in answer.json()["errors"]]


def test_secret_and_header_values_are_shown_when_made_and_never_again(tenant: Tenant) -> None:
    made = register(tenant, headers=HEADERS, description="mine")
    path = f"{PATH}/{made['id']}"

    read = tenant.get(path).json()
    listed = tenant.get(PATH).json()["data"]
    changed = tenant.http.patch(path, json={"description": "still mine"}).json()
    rotated = tenant.post(f"{path}/rotate-secret").json()

    assert (made["headers"], made["secret"][:6]) == (HEADERS, "whsec_")
    assert read["header_names"] == ["Authorization"]
    assert listed == [read]
    for shown in (read, *listed, changed):
        assert not {"secret", "headers"} & shown.keys()
        assert "canary" not in orjson.dumps(shown).decode()
    assert rotated["headers"] == HEADERS
    assert rotated["secret"] != made["secret"]


def test_what_is_not_given_stays_as_it_is(tenant: Tenant) -> None:
    made = register(tenant, events=["job.failed"], description="mine", headers=HEADERS)
    path = f"{PATH}/{made['id']}"

    tenant.http.patch(path, json={"events": None})
    tenant.http.patch(path, json={"url": "https://other.example.com/y"})

    found = tenant.get(path).json()
    assert (found["url"], found["events"], found["description"]) == ("https://other.example.com/y", None, "mine")
    assert (found["header_names"], found["enabled"]) == (["Authorization"], True)


def test_disabling_and_enabling_says_when_and_why(tenant: Tenant) -> None:
    path = f"{PATH}/{register(tenant)['id']}"

    off = tenant.http.patch(path, json={"enabled": False}).json()
    on = tenant.http.patch(path, json={"enabled": True}).json()

    assert (off["enabled"], off["disabled_reason"], off["disabled_at"] is not None) == (False, "owner", True)
    assert (on["enabled"], on["disabled_reason"], on["disabled_at"]) == (True, None, None)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ["/url"]),
        ({"url": None}, ["/url"]),
        ({"url": "ftp://hooks.example.com"}, ["/url"]),
        ({"url": HOOK, "events": []}, ["/events"]),
        ({"url": HOOK, "events": ["job.completed", "job.exploded"]}, ["/events/1"]),
        ({"url": HOOK, "events": "job.completed"}, ["/events"]),
        ({"url": HOOK, "colour": "red"}, ["/colour"]),
        ({"url": HOOK, "enabled": False}, ["/enabled"]),
        ({"url": HOOK, "description": "x" * 513}, ["/description"]),
        ({"url": HOOK, "description": "\x00"}, ["/description"]),
        ({"url": HOOK, "headers": {"Webhook-Id": "x"}}, ["/headers/Webhook-Id"]),
        ({"url": HOOK, "headers": {"content-type": "x"}}, ["/headers/content-type"]),
        ({"url": HOOK, "headers": {"Host": "x", "X-A": "a\r\nB: c"}}, ["/headers/Host", "/headers/X-A"]),
        ({"url": HOOK, "headers": {"Connection": "close"}}, ["/headers/Connection"]),
        ({"url": HOOK, "headers": {"X-A": "1", "x-a": "2"}}, ["/headers/x-a"]),
        ({"url": HOOK, "headers": {"X-A": 1}}, ["/headers/X-A"]),
        ({"url": HOOK, "headers": {f"X-{number}": "" for number in range(21)}}, ["/headers"]),
    ],
)
def test_what_is_not_valid_is_named_and_nothing_is_made(
    guest: Tenant, fields: dict[str, Any], expected: list[str]
) -> None:
    answer = guest.post(PATH, fields)

    assert pointers(answer) == expected
    assert guest.get(PATH).json()["data"] == []


def test_a_bad_change_changes_nothing(guest: Tenant) -> None:
    path = f"{PATH}/{register(guest)['id']}"
    before = guest.get(path).json()

    answer = guest.http.patch(path, json={"description": "new", "url": "https://10.0.0.1/", "enabled": False})

    assert pointers(answer) == ["/url"]
    assert guest.get(path).json() == before


def test_every_event_may_be_asked_for(guest: Tenant) -> None:
    assert register(guest, events=[*SUBSCRIBABLE, SUBSCRIBABLE[0]])["events"] == list(SUBSCRIBABLE)


def test_a_project_has_at_most_so_many(server: Server, tenant: Tenant) -> None:
    for _ in range(flow.MAX_ENDPOINTS):
        flow.create(server.context, tenant.project_id, {"url": HOOK})

    answer = tenant.post(PATH, {"url": HOOK})

    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    with server.context.database.write() as session:
        assert endpoints.number(session, tenant.project_id) == flow.MAX_ENDPOINTS


def test_endpoints_are_paged_newest_first(tenant: Tenant) -> None:
    made = [register(tenant)["id"] for _ in range(3)]

    first = tenant.get(f"{PATH}?limit=2").json()
    second = tenant.get(f"{PATH}?limit=2&cursor={first['next_cursor']}").json()

    assert [one["id"] for one in first["data"] + second["data"]] == made[::-1]
    assert [first["has_more"], second["has_more"]] == [True, False]
    assert tenant.get(f"{PATH}?cursor=none").status_code == 400


CALLS = [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/rotate-secret"), ("POST", "/ping"), ("POST", "/replay")]
BODIES = {"PATCH": {"enabled": False}, "/replay": {"since": "2026-11-21T00:00:00Z"}}


@pytest.mark.parametrize(("method", "call"), [*CALLS, ("GET", "/deliveries")])
def test_another_projects_endpoint_is_not_found(server: Server, tenant: Tenant, method: str, call: str) -> None:
    made = register(tenant)
    before = row(server, made["id"])
    other, body = server.tenant(), BODIES.get(call or method)

    answers = [
        other.http.request(method, f"{PATH}/{name}{call}", json=body)
        for name in (made["id"], made["id"][:-1] + "_", "whe_0", made["id"].replace("whe", "job"))
    ]

    assert [answer.status_code for answer in answers] == [404] * 4
    assert row(server, made["id"]) == before
    assert other.get(PATH).json()["data"] == []


@pytest.mark.parametrize(("method", "call"), [("POST", None), *CALLS, ("GET", "/deliveries"), ("GET", None)])
def test_writing_needs_its_scope_and_reading_that_of_jobs(
    server: Server, tenant: Tenant, method: str, call: str | None
) -> None:
    made = register(tenant)
    wanted = "jobs:read" if method == "GET" else "webhooks:write"
    others = [scope for scope in ("jobs:read", "jobs:write", "webhooks:write", "admin") if scope != wanted]
    path = PATH if call is None else f"{PATH}/{made['id']}{call}"
    body = BODIES.get(call or method, {"url": HOOK})

    refused = server.key(tenant.project_id, *others).http.request(method, path, json=body)
    done = server.key(tenant.project_id, wanted).http.request(method, path, json=body)

    assert refused.status_code == 403
    assert done.status_code < 300


def test_a_deleted_endpoint_is_gone(tenant: Tenant) -> None:
    path = f"{PATH}/{register(tenant)['id']}"

    assert tenant.http.delete(path).status_code == 204

    assert [tenant.get(path).status_code, tenant.http.delete(path).status_code] == [404, 404]
    assert tenant.get(PATH).json()["data"] == []


def test_what_went_to_an_endpoint_is_listed_by_status(server: Server, tenant: Tenant, worker: Worker) -> None:
    made = register(tenant, events=["job.created", "job.completed"])
    register(tenant, events=["job.failed"])
    job = tenant.submit()
    worker.complete(job["id"])
    path = f"{PATH}/{made['id']}/deliveries"
    with server.context.database.write() as session:
        newest = waiting.of_endpoint(session, made["id"], status=None, before=None, limit=1)[0]
        newest.status = deliveries.DELIVERED

    both = tenant.get(path).json()["data"]
    delivered = tenant.get(f"{path}?status=delivered").json()["data"]
    first = tenant.get(f"{path}?limit=1").json()
    second = tenant.get(f"{path}?limit=1&cursor={first['next_cursor']}").json()

    assert [one["event_type"] for one in both] == ["job.completed", "job.created"]
    assert {(one["endpoint_id"], one["job_id"], one["url"]) for one in both} == {(made["id"], job["id"], HOOK)}
    assert delivered == both[:1]
    assert [first["data"], second["data"]] == [both[:1], both[1:]]
    assert tenant.get(f"{path}?status=lost").status_code == 422
    assert len(tenant.get(f"/v1/jobs/{job['id']}/deliveries").json()["data"]) == 2


def test_a_ping_is_a_delivery_like_any_other(tenant: Tenant) -> None:
    made = register(tenant, events=["job.failed"])

    answer = tenant.post(f"{PATH}/{made['id']}/ping")

    delivery = answer.json()
    assert (answer.status_code, delivery["status"], delivery["job_id"]) == (202, "pending", None)
    assert (delivery["event_type"], delivery["endpoint_id"]) == ("webhook.ping", made["id"])
    assert tenant.get(answer.headers["location"]).json()["attempts"] == []
    assert tenant.get(f"{PATH}/{made['id']}/deliveries").json()["data"] == [delivery]


def test_a_replay_makes_what_failed_due_again(server: Server, tenant: Tenant) -> None:
    made = register(tenant, events=["job.created"])
    tenant.submit()
    with server.context.database.write() as session:
        (found,) = waiting.of_endpoint(session, made["id"], status=None, before=None, limit=9)
        found.status, found.due_at = deliveries.EXHAUSTED, None
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()

    none = tenant.post(f"{PATH}/{made['id']}/replay", {"since": later})
    untouched = tenant.get(f"/v1/deliveries/{found.id}").json()["status"]
    answer = tenant.post(f"{PATH}/{made['id']}/replay", {"since": made["created_at"]})

    assert [none.status_code, answer.status_code] == [202, 202]
    assert untouched == "exhausted"
    assert tenant.get(f"/v1/deliveries/{found.id}").json()["status"] == "pending"


@pytest.mark.parametrize("body", [{}, {"since": "yesterday"}, {"since": "2026-11-21T00:00:00"}])
def test_a_replay_needs_a_moment_with_its_zone(guest: Tenant, body: dict[str, Any]) -> None:
    answer = guest.post(f"{PATH}/{register(guest)['id']}/replay", body)

    assert pointers(answer) == ["/since"]


@pytest.mark.parametrize("since", ["0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "9999-12-31T23:59:59Z"])
def test_a_replay_takes_any_moment(guest: Tenant, since: str) -> None:
    assert guest.post(f"{PATH}/{register(guest)['id']}/replay", {"since": since}).status_code == 202


def test_a_delivery_of_a_deleted_job_can_still_be_read(tenant: Tenant, worker: Worker) -> None:
    made = register(tenant, events=["job.completed"])
    job_id = tenant.submit()["id"]
    worker.complete(job_id)
    (delivery,) = tenant.get(f"{PATH}/{made['id']}/deliveries").json()["data"]

    assert tenant.http.delete(f"/v1/jobs/{job_id}").status_code == 204

    found = tenant.get(f"/v1/deliveries/{delivery['id']}").json()
    assert (found["status"], found["event_type"]) == ("cancelled", "job.completed")
    assert tenant.get(f"{PATH}/{made['id']}/deliveries").json()["data"][0]["id"] == delivery["id"]


def test_the_secret_shown_is_the_one_that_signs(server: Server, tenant: Tenant) -> None:
    made = register(tenant)

    kept = server.context.vault.open(row(server, made["id"]).secret)

    assert kept == made["secret"]
    assert Webhook(made["secret"])
