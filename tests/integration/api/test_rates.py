"""Rates over HTTP: keys that ask too often, keys that do not exist, and what the headers say."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import time

import pytest
import sqlalchemy as sa

from tests.conftest import MakeSettings
from tests.integration.api.serving import Server, serving
from tests.overheard import overheard
from tests.waiting import eventually
from worker import keys, telemetry
from worker.models import Project
from worker.store import projects

JOB = {"model": "gemini-3.8-flash", "input": "x"}


@pytest.fixture
def strict(own_settings: MakeSettings) -> Iterator[Server]:
    """An application that allows little."""
    with serving(own_settings(rate_limit_submit=3, rate_limit_read=5, auth_failures=2)) as server:
        yield server


def counted(name: str) -> float:
    amounts = telemetry.drain()
    telemetry.restore(amounts)
    return sum(value for (counter, labels), value in amounts.items() if name in f"{counter}{labels}")


def test_beyond_its_rate_a_key_is_refused_and_told_when_to_come_back(strict: Server) -> None:
    tenant = strict.tenant()
    before = counted('rate_limited_total{"kind": "submit"}')
    taken = [tenant.post("/v1/jobs", JOB) for _ in range(3)]

    refused = tenant.post("/v1/jobs", JOB)

    assert [answer.headers["RateLimit-Remaining"] for answer in taken] == ["2", "1", "0"]
    assert {answer.headers["RateLimit-Limit"] for answer in taken} == {"3"}
    assert int(taken[0].headers["RateLimit-Reset"]) == 20
    assert {answer.headers["RateLimit-Policy"] for answer in [*taken, refused]} == {'"submit";q=3;w=60'}
    assert taken[0].headers["RateLimit"] == '"submit";r=2;t=20'
    assert refused.headers["RateLimit"] == f'"submit";r=0;t={refused.headers["Retry-After"]}'
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert 1 <= int(refused.headers["Retry-After"]) <= 20
    assert refused.headers["RateLimit-Remaining"] == "0"
    assert refused.headers["RateLimit-Limit"] == "3"
    assert len(tenant.get("/v1/jobs").json()["data"]) == 3
    assert counted('rate_limited_total{"kind": "submit"}') == before + 1


def test_reads_are_counted_apart_and_by_key(strict: Server) -> None:
    tenant = strict.tenant()
    assert [tenant.get("/v1/stats").status_code for _ in range(6)] == [200] * 5 + [429]

    assert tenant.post("/v1/jobs", JOB).status_code == 202
    assert strict.key(tenant.project_id).get("/v1/stats").status_code == 200


def test_what_the_audit_log_notes_of_each_look_is_no_read(strict: Server) -> None:
    tenant = strict.tenant()

    answers = [tenant.get("/v1/webhook-secret") for _ in range(4)]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert {answer.headers["RateLimit-Limit"] for answer in answers} == {"3"}


def test_the_door_is_limited_with_the_rest_and_says_so_as_the_upstream_does(strict: Server) -> None:
    tenant = strict.tenant()
    for _ in range(3):
        assert tenant.post("/v1/jobs", JOB).status_code == 202

    refused = tenant.post("/gemini/v1/interactions", {**JOB, "background": True})

    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert refused.headers["Retry-After"]


def test_a_limit_of_nought_is_none(own_settings: MakeSettings) -> None:
    with serving(own_settings(rate_limit_read=0)) as server:
        answer = server.tenant().get("/v1/stats")

    assert "RateLimit-Limit" not in answer.headers


def test_guessing_is_slowed_without_asking_and_a_good_key_goes_on(strict: Server) -> None:
    tenant = strict.tenant()
    assert tenant.get("/v1/stats").status_code == 200
    guesses = [strict.client(f"nd_guess-number-{number:020}").get("/v1/stats") for number in range(4)]

    assert [answer.status_code for answer in guesses] == [401, 401, 429, 429]
    assert guesses[-1].json()["code"] == "rate_limited"
    assert int(guesses[-1].headers["Retry-After"]) <= 30
    assert tenant.get("/v1/stats").status_code == 200
    refused = strict.client().get("/gemini/v1/interactions/job_x", headers={"x-goog-api-key": "nd_" + "g" * 40})
    assert refused.status_code == 429


def test_who_guesses_locks_no_good_key_out_that_was_never_used_here(strict: Server) -> None:
    """As every key is after a start."""
    first, second = strict.tenant(), strict.tenant()
    assert [strict.client("nd_" + 40 * str(number)).get("/v1/stats").status_code for number in range(3)][-1] == 429

    with overheard(strict.context.database.reader) as asked:
        guesses = ["nd_" + 40 * name for name in "abcdef"]
        guessed = [strict.client(token).get("/v1/stats").status_code for token in guesses]

    assert guessed == [429] * 6
    assert not [token for token in guesses if keys.digest(token) in repr(asked)]
    assert [tenant.get("/v1/stats").status_code for tenant in (first, second)] == [200, 200]


def test_a_key_that_was_good_and_was_revoked_is_refused_as_unknown(strict: Server) -> None:
    tenant = strict.tenant()
    assert tenant.get("/v1/stats").status_code == 200
    with strict.context.database.write() as session:
        projects.revoke(session, tenant.key_id, strict.context.clock())

    assert tenant.get("/v1/stats").status_code == 401
    assert tenant.get("/v1/stats").status_code == 401
    assert tenant.get("/v1/stats").status_code == 401
    assert tenant.get("/v1/stats").status_code == 429


def test_failures_are_counted_by_their_reason(strict: Server) -> None:
    reasons = ("missing", "malformed", "unknown", "slowed")
    before = {reason: counted(f'auth_failures_total{{"reason": "{reason}"}}') for reason in reasons}

    strict.client().get("/v1/stats")
    strict.client().get("/v1/stats", headers={"Authorization": "Basic abc"})
    for _ in range(3):
        strict.client("nd_unknown-unknown-unknown").get("/v1/stats")

    after = {reason: counted(f'auth_failures_total{{"reason": "{reason}"}}') for reason in reasons}
    assert {reason: after[reason] - before[reason] for reason in reasons} == {
        "missing": 1,
        "malformed": 1,
        "unknown": 2,
        "slowed": 1,
    }


def test_no_failure_is_counted_while_the_database_is_away(strict: Server) -> None:
    tenant, table = strict.tenant(), "api_key"
    with strict.context.database.engine.begin() as connection:
        connection.execute(sa.text(f"ALTER TABLE {table} RENAME TO gone"))
    answers = [tenant.get("/v1/stats").status_code for _ in range(4)]
    with strict.context.database.engine.begin() as connection:
        connection.execute(sa.text(f"ALTER TABLE gone RENAME TO {table}"))

    assert answers == [503] * 4
    assert tenant.get("/v1/stats").status_code == 200


CROWD = 50


@pytest.mark.parametrize("limit", ["max_queued", "max_jobs_per_day"])
def test_of_many_at_once_those_are_taken_that_a_quota_has_room_for(server: Server, limit: str) -> None:
    eventually(lambda: server.context.clock().time() < time(23, 59, 20), within_s=60, what="a day that lasts")
    tenant = server.tenant()
    with server.context.database.write() as session:
        setattr(session.get_one(Project, tenant.project_id), limit, 8)
    for _ in range(3):
        tenant.submit()

    with ThreadPoolExecutor(CROWD) as threads:
        batch = {"jobs": [JOB, JOB]}
        answers = list(threads.map(lambda _: tenant.post("/v1/jobs/batch", batch), range(CROWD)))
        singles = list(threads.map(lambda _: tenant.post("/v1/jobs", JOB), range(CROWD)))

    assert [len(answer.json()["data"]) for answer in answers if answer.status_code == 202] == [2, 2]
    assert [answer.status_code for answer in singles].count(202) == 1
    refused = [answer for answer in answers + singles if answer.status_code != 202]
    assert {(answer.status_code, answer.json()["code"]) for answer in refused} == {(429, "quota_exceeded")}
    assert {answer.headers["RateLimit-Limit"] for answer in refused} == {"8"}
    assert len(tenant.get("/v1/jobs?limit=100").json()["data"]) == 8
