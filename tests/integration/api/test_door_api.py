"""The Gemini-compatible door: what it shows of jobs in every state, and what it refuses."""

from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor

import orjson
import pytest
import sqlalchemy as sa
from sqlmodel import col

from tests.conftest import MakeSettings
from tests.integration.api.door import BACKGROUND, HELLO, PATH, RAW, STEPS, create, error, get, job_of
from tests.integration.api.engine import Worker
from tests.integration.api.serving import Server, Tenant, serving
from tests.waiting import eventually
from worker.models import Delivery, Event, JobInput
from worker.states import Status
from worker.store import moves


def test_a_create_in_the_background_is_a_job(tenant: Tenant) -> None:
    made = create(tenant, labels={"team": "owls"}, service_tier="flex")

    job = tenant.get(f"/v1/jobs/{made['id']}").json()
    assert job["status"] == "queued"
    assert made == {
        "id": job["id"],
        "object": "interaction",
        "status": "in_progress",
        "model": "gemini-3.8-flash",
        "created": made["created"],
        "updated": made["created"],
        "labels": {"team": "owls"},
    }


def test_the_upstream_s_own_body_is_shown_under_our_id(tenant: Tenant, worker: Worker) -> None:
    name = create(tenant)["id"]
    worker.start(name)

    worker.finish(name, raw=RAW)

    assert get(tenant, name) == {name: RAW[name] for name in RAW if name != "webhook_config"} | {"id": name}


def test_the_input_comes_when_asked_for(tenant: Tenant, worker: Worker) -> None:
    name = create(tenant)["id"]
    early = get(tenant, name, "?include_input=true")
    worker.complete(name)

    assert "input" not in get(tenant, name)
    assert get(tenant, name, "?include_input=true")["input"] == early["input"] == "Say hello."


def test_a_held_create_lacks_what_its_user_put_in(server: Server, tenant: Tenant, worker: Worker) -> None:
    with ThreadPoolExecutor() as pool:
        held = pool.submit(tenant.post, PATH, HELLO)
        (name,) = eventually(lambda: server.awaited(tenant))
        worker.start(name)
        worker.finish(name, raw=RAW)
        answer = held.result()

    assert answer.json()["steps"] == STEPS[1:]
    assert get(tenant, name)["steps"] == STEPS


@pytest.mark.parametrize(
    ("status", "said", "expected"),
    [
        (Status.COMPLETED, "completed", "completed"),
        (Status.INCOMPLETE, "completed", "completed"),
        (Status.INCOMPLETE, "incomplete", "incomplete"),
        (Status.BUDGET_EXCEEDED, "budget_exceeded", "budget_exceeded"),
        (Status.CANCELLED, "cancelled", "cancelled"),
        (Status.CANCELLED, "requires_action", "cancelled"),
        (Status.EXPIRED, "cancelled", "failed"),
        (Status.FAILED, "failed", "failed"),
    ],
)
def test_every_end_has_the_upstream_s_word(
    guest: Tenant, local: Worker, status: Status, said: str, expected: str
) -> None:
    name = create(guest)["id"]
    local.start(name)

    local.finish(name, status, raw=RAW | {"status": said})

    shown = get(guest, name)
    assert shown["status"] == expected
    assert ("errors" in shown) == (expected == "failed")


def test_a_job_that_failed_without_a_body_says_why(guest: Tenant, local: Worker) -> None:
    name = create(guest)["id"]

    local.fail(name)

    shown = get(guest, name)
    assert shown["status"] == "failed"
    assert shown["errors"] == [{"code": "upstream_failed", "message": "it broke"}]


def test_a_held_create_that_the_upstream_refused_is_refused_alike(
    sqlite_server: Server, guest: Tenant, local: Worker
) -> None:
    upstream = {"status": 400, "code": "parameter_unknown", "message": "Unknown parameter 'x'."}
    refused = {"code": "upstream_rejected", "message": "refused", "retryable": False, "upstream": upstream}
    with ThreadPoolExecutor() as pool:
        held = pool.submit(guest.post, PATH, HELLO)
        (name,) = eventually(lambda: sqlite_server.awaited(guest))
        local.start(name)
        with sqlite_server.context.database.write() as session:
            now, told = sqlite_server.context.clock(), {"error": refused}
            moves.move(session, name, sources={Status.IN_PROGRESS}, target=Status.FAILED, now=now, values=told)
        answer = held.result()

    assert error(answer) == (400, "parameter_unknown")
    assert answer.json()["error"]["message"] == "Unknown parameter 'x'."


def test_media_come_back_as_they_were(server: Server, tenant: Tenant, worker: Worker) -> None:
    picture, photo = bytes(range(256)) * 5000, b64encode(b"a photo").decode()
    content = [{"type": "text", "text": "Whose?"}, {"type": "image", "mime_type": "image/png", "data": photo}]
    name = create(tenant, input=content)["id"]
    artifact = {"id": 0, "kind": "image", "mime_type": "image/png", "size": len(picture), "url": "/"}
    server.context.artifacts.put(f"{name}/1.1/0", picture)
    steps = [
        {"type": "user_input", "content": [content[0], {"type": "image", "mime_type": "image/png", "omitted": True}]},
        {"type": "model_output", "content": [{"type": "image", "artifact": 0, "size": len(picture)}]},
        {"type": "odd", "content": [{"type": "image", "artifact": 7, "size": 1}]},
    ]
    worker.start(name)

    worker.finish(name, output={"artifacts": [artifact]}, raw=RAW | {"steps": steps})

    answer = tenant.get(f"{PATH}/{name}")
    shown = answer.json()["steps"]
    assert shown[0]["content"] == content
    assert shown[1]["content"] == [{"type": "image", "data": b64encode(picture).decode()}]
    assert shown[2] == steps[2]
    assert int(answer.headers["content-length"]) == len(answer.content)


def test_an_artifact_that_cannot_be_read_is_no_half_answer(guest: Tenant, local: Worker) -> None:
    name = create(guest)["id"]
    artifact = {"id": 0, "kind": "image", "mime_type": "image/png", "size": 3, "url": "/"}
    local.start(name)
    content = [{"type": "image", "artifact": 0, "size": 3}]
    local.finish(name, output={"artifacts": [artifact]}, raw=RAW | {"steps": [{"type": "x", "content": content}]})

    assert error(guest.get(f"{PATH}/{name}")) == (404, "not_found")


def test_results_past_their_retention_are_gone_as_upstream(guest: Tenant, local: Worker) -> None:
    name = create(guest)["id"]
    local.complete(name)

    local.age(name, 31)

    assert error(guest.get(f"{PATH}/{name}")) == (404, "not_found")


def test_what_another_project_has_is_unknown(server: Server, tenant: Tenant) -> None:
    name = create(tenant)["id"]
    stranger = server.tenant()

    answers = [
        stranger.get(f"{PATH}/{name}"),
        stranger.post(f"{PATH}/{name}/cancel"),
        stranger.http.delete(f"{PATH}/{name}"),
        stranger.post(PATH, BACKGROUND | {"previous_interaction_id": name}),
    ]

    assert {error(answer) for answer in answers} == {(404, "not_found")}
    assert get(tenant, name)["status"] == "in_progress"


@pytest.mark.parametrize(
    "name", ["job_1.1", "job_1.0", "job_1.x", "v1_abc", "job_", "job_1.2.3", "JOB_1", "job_1.99999"]
)
def test_what_is_no_id_of_ours_is_unknown(guest: Tenant, name: str) -> None:
    assert error(guest.get(f"{PATH}/{name}")) == (404, "not_found")


def test_turns_that_are_not_there_are_unknown(guest: Tenant) -> None:
    name = create(guest)["id"]

    assert error(guest.get(f"{PATH}/{name}.2")) == (404, "not_found")


def test_the_key_goes_where_the_clients_put_it(sqlite_server: Server, guest: Tenant) -> None:
    client = sqlite_server.client()

    in_header = client.post(PATH, json=BACKGROUND, headers={"x-goog-api-key": guest.token})
    in_url = client.post(f"{PATH}?key={guest.token}", json=BACKGROUND)
    nowhere = client.post(PATH, json=BACKGROUND)
    wrong = client.post(PATH, json=BACKGROUND, headers={"x-goog-api-key": "AIza-google"})

    assert in_header.status_code == 200
    assert "in the header x-goog-api-key" in in_url.json()["error"]["message"]
    assert [error(answer) for answer in (in_url, nowhere, wrong)] == [(401, "authentication")] * 3


def test_a_key_may_do_what_its_scopes_say(sqlite_server: Server) -> None:
    reader = sqlite_server.tenant("jobs:read")

    assert error(reader.post(PATH, BACKGROUND)) == (403, "permission_denied")
    assert error(reader.get(f"{PATH}/job_1")) == (404, "not_found")


def test_refusals_have_the_upstream_s_shape(guest: Tenant) -> None:
    answers = {
        "not json": guest.http.post(PATH, content=b"{"),
        "not valid": guest.post(PATH, BACKGROUND | {"tools": [{"type": "hammer"}]}),
        "not stored": guest.post(PATH, BACKGROUND | {"store": False}),
        "bad event": guest.get(f"{PATH}/{create(guest)['id']}?stream=true&last_event_id=x"),
        "bad flag": guest.get(f"{PATH}/job_1?stream=perhaps"),
    }
    unknown = [guest.get("/gemini/v1/models"), guest.post("/gemini/v1/interactions/a/b/c"), guest.get("/gemini")]
    method = guest.get(PATH)

    assert {name: error(answer) for name, answer in answers.items()} == dict.fromkeys(answers, (400, "invalid_request"))
    assert "'tools[0].type'" in answers["not valid"].json()["error"]["message"]
    assert {error(answer) for answer in unknown} == {(404, "not_found")}
    assert error(method) == (405, "unimplemented")
    assert method.headers["allow"] == "POST"


def test_a_body_that_is_too_large_is_refused(own_settings: MakeSettings) -> None:
    with serving(own_settings(max_body_bytes=2000)) as server:
        answer = server.tenant().post(PATH, BACKGROUND | {"input": "x" * 3000})

        assert error(answer) == (413, "invalid_request")


def test_a_full_queue_is_told_to_come_again(own_settings: MakeSettings) -> None:
    with serving(own_settings(max_queued=1)) as server:
        tenant = server.tenant()
        create(tenant)

        answer = tenant.post(PATH, BACKGROUND)

        assert error(answer) == (429, "quota_exceeded")
        assert answer.headers["retry-after"] == "60"


def test_every_address_of_a_webhook_config_hears_of_the_end(server: Server, tenant: Tenant, worker: Worker) -> None:
    uris = ["https://93.184.215.14/a", "https://93.184.215.14/b", "https://93.184.215.14/a"]
    config = {"uris": uris, "user_metadata": {"ticket": "A-7", "tries": 3}}
    made = create(tenant, webhook_config=config)

    worker.complete(made["id"])

    with server.context.database.read() as session:
        found = session.execute(
            sa.select(col(Delivery.url), col(Event.payload))
            .join(Event, col(Event.id) == col(Delivery.event_id))
            .where(col(Delivery.job_id) == made["id"])
        ).all()
    assert made["webhook_config"] == get(tenant, made["id"])["webhook_config"] == config
    assert sorted(row.url for row in found) == sorted(set(uris))
    assert {orjson.loads(row.payload)["type"] for row in found} == {"job.completed"}
    assert {orjson.loads(row.payload)["data"]["metadata"]["ticket"] for row in found} == {"A-7"}


def test_an_address_that_the_guard_refuses_refuses_the_create(guest: Tenant) -> None:
    answer = guest.post(PATH, BACKGROUND | {"webhook_config": {"uris": ["https://127.0.0.1/"]}})

    assert error(answer) == (400, "invalid_request")
    assert "webhook_config.uris[0]" in answer.json()["error"]["message"]
    assert guest.get("/v1/jobs").json()["data"] == []


def test_a_job_of_ours_is_gone_on_from_by_its_id(server: Server, tenant: Tenant, worker: Worker) -> None:
    name = create(tenant)["id"]
    worker.complete(name)

    after = create(tenant, previous_interaction_id=name)["id"]

    assert job_of(server, after).previous_job_id == name
    assert job_of(server, after).conversation_id == name
    assert get(tenant, after)["previous_interaction_id"] == name


def test_nobody_goes_on_from_what_has_not_ended(guest: Tenant) -> None:
    name = create(guest)["id"]

    answer = guest.post(PATH, BACKGROUND | {"previous_interaction_id": name})

    assert error(answer) == (400, "failed_precondition")


def test_parameters_of_the_future_reach_the_upstream(server: Server, tenant: Tenant) -> None:
    name = create(tenant, of_the_future=[1])["id"]

    with server.context.database.read() as session:
        body = orjson.loads(session.get_one(JobInput, (name, 1)).body)
    assert body["extra_body"] == {"of_the_future": [1]}


def test_a_waiting_job_is_cancelled_at_once(tenant: Tenant) -> None:
    name = create(tenant)["id"]

    answer = tenant.post(f"{PATH}/{name}/cancel")
    again = tenant.post(f"{PATH}/{name}/cancel")

    assert (answer.json()["status"], again.json()["status"]) == ("cancelled", "cancelled")


def test_what_has_ended_is_neither_cancelled_nor_what_runs_deleted(guest: Tenant, local: Worker) -> None:
    done, running = create(guest)["id"], create(guest)["id"]
    local.complete(done)

    cancel, delete = guest.post(f"{PATH}/{done}/cancel"), guest.http.delete(f"{PATH}/{running}")

    assert [error(answer) for answer in (cancel, delete)] == [(400, "failed_precondition")] * 2
