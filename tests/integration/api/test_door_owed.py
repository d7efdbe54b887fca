"""What the door owes to creates that are sent again: the job that they made before, while nobody had its answer."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlmodel import col

from api.gemini.owed import ALIVE
from tests.conftest import MakeSettings
from tests.integration.api.door import BACKGROUND, HELLO, PATH, create, error
from tests.integration.api.engine import Worker
from tests.integration.api.serving import Server, Tenant, serving
from tests.waiting import eventually
from worker.models import Idempotency
from worker.store import owed, removals


def test_an_idempotency_key_is_honoured(tenant: Tenant) -> None:
    headers = {"Idempotency-Key": "once"}

    first = tenant.http.post(PATH, json=BACKGROUND, headers=headers)
    again = tenant.http.post("/gemini/v1beta/interactions", json=BACKGROUND, headers=headers)
    other = tenant.http.post(PATH, json=BACKGROUND | {"input": "Else."}, headers=headers)

    assert first.json()["id"] == again.json()["id"]
    assert error(other) == (400, "invalid_request")


def test_a_replay_is_answered_though_what_it_went_on_from_is_gone(
    server: Server, tenant: Tenant, worker: Worker
) -> None:
    before = create(tenant)["id"]
    worker.complete(before)
    body, headers = BACKGROUND | {"previous_interaction_id": before}, {"Idempotency-Key": "after"}
    first = tenant.http.post(PATH, json=body, headers=headers).json()["id"]
    with server.context.database.write() as session:
        removals.job(session, before)

    again = tenant.http.post(PATH, json=body, headers=headers)
    other = tenant.http.post(PATH, json=body, headers={"Idempotency-Key": "another"})

    assert again.json()["id"] == first
    assert error(other) == (404, "not_found")


def test_equal_creates_that_were_answered_are_jobs_of_their_own(tenant: Tenant) -> None:
    names = {create(tenant)["id"] for _ in range(3)}

    assert len(names) == 3


def unanswered(server: Server) -> list[str]:
    with server.context.database.read() as session:
        return list(session.scalars(sa.select(col(Idempotency.key)).where(col(Idempotency.path).contains("#"))))


def test_nothing_is_owed_once_the_answer_is_out(server: Server, tenant: Tenant) -> None:
    name = create(tenant)["id"]

    eventually(lambda: name not in unanswered(server))


@pytest.fixture
def brief(own_settings: MakeSettings) -> Iterator[Server]:
    """A door that holds a create for a moment only."""
    with serving(own_settings(hold_s=0.3)) as server:
        yield server


def test_a_create_that_was_held_too_long_is_found_again(brief: Server) -> None:
    tenant, worker = brief.tenant(), Worker(brief.context)
    first = tenant.post(PATH, HELLO)
    second = tenant.post(PATH, HELLO)
    (job,) = tenant.get("/v1/jobs").json()["data"]
    worker.complete(job["id"])

    third = tenant.post(PATH, HELLO)
    fourth = tenant.post(PATH, HELLO)

    assert [error(answer) for answer in (first, second)] == [(504, "deadline_exceeded")] * 2
    assert (third.status_code, third.json()["id"]) == (200, job["id"])
    assert fourth.status_code == 504
    assert len(tenant.get("/v1/jobs").json()["data"]) == 2


def test_only_the_same_create_of_the_same_key_is_the_same(brief: Server) -> None:
    tenant = brief.tenant()
    tenant.post(PATH, HELLO)
    colleague = brief.key(tenant.project_id)

    colleague.post(PATH, HELLO)
    tenant.post(PATH, HELLO | {"input": "Say goodbye."})

    assert len(tenant.get("/v1/jobs").json()["data"]) == 3


def owe(server: Server, tenant: Tenant, age: timedelta) -> str:
    """A create of a process that was killed while it held it; gives back the job."""
    tenant.post(PATH, HELLO)
    name: str = tenant.get("/v1/jobs").json()["data"][0]["id"]
    with server.context.database.write() as session:
        entry = session.scalars(sa.select(Idempotency).where(col(Idempotency.key) == name)).one()
        entry.created_at = server.context.clock() - age
    return name


def test_what_a_killed_process_owed_is_found_when_it_shows_no_sign_of_life(brief: Server) -> None:
    tenant = brief.tenant()
    name = owe(brief, tenant, ALIVE - timedelta(seconds=1))
    Worker(brief.context).complete(name)

    answer = tenant.post(PATH, HELLO)

    assert answer.json()["id"] == name


def test_a_create_that_another_process_holds_is_left_to_it(brief: Server) -> None:
    tenant = brief.tenant()
    name = owe(brief, tenant, timedelta())
    with brief.context.database.read() as session:
        entry = session.scalars(sa.select(Idempotency).where(col(Idempotency.key) == name)).one()
        debt = (entry.project_id, entry.path, entry.key)

    with ThreadPoolExecutor() as pool:
        held = pool.submit(tenant.post, PATH, HELLO)
        eventually(lambda: _touch(brief, debt) or held.done(), within_s=20)
        answer = held.result()

    assert answer.status_code == 504
    assert len(tenant.get("/v1/jobs").json()["data"]) == 2


def _touch(server: Server, debt: tuple[str, str, str]) -> bool:
    """The other process says that it is alive; nothing comes of it here."""
    with server.context.database.write() as session:
        owed.touch(session, [debt], server.context.clock())
    return False


@pytest.mark.parametrize("age", [timedelta(minutes=11), timedelta(days=30)])
def test_an_answer_is_not_owed_for_ever(brief: Server, age: timedelta) -> None:
    tenant = brief.tenant()
    owe(brief, tenant, age)

    tenant.post(PATH, HELLO)

    assert len(tenant.get("/v1/jobs").json()["data"]) == 2


def test_a_deleted_job_is_owed_to_nobody(brief: Server) -> None:
    tenant = brief.tenant()
    name = owe(brief, tenant, ALIVE)
    Worker(brief.context).complete(name)
    tenant.http.delete(f"/v1/jobs/{name}")

    assert tenant.post(PATH, HELLO).status_code == 504
    assert [job["id"] for job in tenant.get("/v1/jobs").json()["data"]] != [name]
