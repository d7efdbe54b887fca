"""What operators see: health, readiness, metrics, statistics, the catalog, the manual, the log."""

import logging
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import MakeSettings
from tests.integration.api.engine import Worker
from tests.integration.api.serving import Server, Tenant, serving
from tests.waiting import eventually
from worker import context as contexts
from worker.errors import SettingsError
from worker.store import gates, moments


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_process_answers(sqlite_server: Server) -> None:
    assert sqlite_server.client().get("/healthz").json() == {"status": "ok"}


def test_without_worker_and_redis_it_is_ready_but_degraded(own_settings: MakeSettings) -> None:
    with serving(own_settings()) as server:
        answer = server.client().get("/readyz")

    checks = answer.json()["checks"]
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert set(checks) == {"database", "migrations", "broker", "sweep", "consumption", "upstream", "gates"}
    assert {name for name, check in checks.items() if check["status"] == "degraded"} == {"broker", "sweep"}


def test_with_all_signs_of_life_it_is_ready(own_settings: MakeSettings, redis_url: str) -> None:
    with serving(own_settings(redis_url=redis_url)) as server:
        now = datetime.now(UTC)
        with server.context.database.write() as session:
            for name in (moments.SWEEP, moments.CONSUMED, moments.UPSTREAM):
                moments.note(session, name, now)

        # Redis has 0.3 s to answer.
        answer = eventually(lambda: _if_ok(server.client().get("/readyz").json()), what="the sign of life")

    assert answer is not None
    assert answer["checks"]["sweep"]["age_seconds"] < 60


def _if_ok(answer: dict[str, Any]) -> dict[str, Any] | None:
    return answer if answer["status"] == "ok" else None


@pytest.mark.parametrize("target", [gates.KEY, "gemini-3.8-flash"])
def test_a_closed_gate_degrades_it_and_is_named(own_settings: MakeSettings, redis_url: str, target: str) -> None:
    with serving(own_settings(redis_url=redis_url)) as server:
        now = datetime.now(UTC)
        with server.context.database.write() as session:
            moments.note(session, moments.SWEEP, now)
            gates.close(session, target, reason="rate_limited", until=now + timedelta(minutes=1), now=now, closings=1)

        answer = server.client().get("/readyz").json()

    assert answer["status"] == "degraded"
    assert [gate["target"] for gate in answer["checks"]["gates"]["closed"]] == [target]


def test_metrics_count_requests_by_template_and_jobs_by_target(server: Server, tenant: Tenant, worker: Worker) -> None:
    worker.start(tenant.submit()["id"])
    tenant.submit(model="nobody-knows-this-one")
    job_id = tenant.submit()["id"]
    tenant.get(f"/v1/jobs/{job_id}")

    answer = server.operator().get("/metrics")

    found = samples(answer.text)
    assert answer.headers["content-type"].startswith("text/plain")
    assert job_id not in answer.text
    assert "nobody-knows-this-one" not in answer.text
    read = (("method", "GET"), ("route", "/v1/jobs/{job_id}"), ("status", "200"))
    assert found["nightdesk_http_requests_total", read] >= 1
    running = (("kind", "model"), ("status", "in_progress"), ("target", "gemini-3.8-flash"))
    assert found["nightdesk_jobs", running] >= 1
    assert found["nightdesk_jobs", (("kind", "model"), ("status", "queued"), ("target", "other"))] >= 1
    assert found["nightdesk_in_flight", ()] >= 1
    route = ("route", "/v1/jobs")
    buckets = [value for (name, labels), value in found.items() if name.endswith("seconds_bucket") and route in labels]
    assert buckets == sorted(buckets)


def test_what_an_agent_of_somebody_s_own_is_called_is_not_told_to_everybody(sqlite_server: Server) -> None:
    now = datetime.now(UTC)
    with sqlite_server.context.database.write() as session:
        gates.close(session, "a-merger", reason="rate_limited", until=now + timedelta(days=1), now=now, closings=1)

    answer = sqlite_server.client().get("/readyz")

    with sqlite_server.context.database.write() as session:
        gates.open_(session, ["a-merger"], before=now + timedelta(days=1))
    assert "other" in [gate["target"] for gate in answer.json()["checks"]["gates"]["closed"]]
    assert "a-merger" not in answer.text


def test_metrics_are_public_where_the_settings_say_so(own_settings: MakeSettings) -> None:
    with serving(own_settings(metrics_public=True)) as server:
        assert server.client().get("/metrics").status_code == 200


def test_statistics_are_of_one_project(server: Server, tenant: Tenant, worker: Worker) -> None:
    server.tenant().submit()
    worker.complete(tenant.submit(webhook_url="https://hooks.example.com/x")["id"])
    worker.start(tenant.submit()["id"])
    tenant.submit(agent="deep-research-preview-04-2026", model=None)

    found = tenant.get("/v1/stats").json()

    assert found["by_status"] == {"completed": 1, "in_progress": 1, "queued": 1}
    assert found["by_target"] == {
        "gemini-3.8-flash": {"completed": 1, "in_progress": 1},
        "deep-research-preview-04-2026": {"queued": 1},
    }
    assert (found["in_flight"], found["due"], found["delivery_backlog"]) == (1, 0, 1)
    assert 0 <= found["oldest_queued_seconds"] < 60


def test_statistics_of_nothing_are_zero(tenant: Tenant) -> None:
    found = tenant.get("/v1/stats").json()

    assert (found["by_status"], found["oldest_queued_seconds"]) == ({}, None)


def test_the_catalog_tells_what_replaces_the_deprecated(tenant: Tenant) -> None:
    entries = {entry["id"]: entry for entry in tenant.get("/v1/catalog").json()["data"]}

    assert entries["deep-research-preview-04-2026"]["default_timeout_seconds"] == 4200
    assert entries["antigravity-preview-05-2026"]["replacement"] == "antigravity-preview-09-2026"


def test_the_catalog_says_what_to_pick_a_model_by(tenant: Tenant) -> None:
    entries = {entry["id"]: entry for entry in tenant.get("/v1/catalog").json()["data"]}

    research = entries["deep-research-preview-04-2026"]
    assert research["limits"] == {"run_seconds": 3600, "input_tokens": 1_048_576, "output_tokens": 65_536}
    assert (research["cost"]["usd_from"], research["cost"]["usd_to"]) == (1, 3)
    assert research["typical_seconds"] < research["default_timeout_seconds"]
    assert "function" not in research["tools"]
    assert entries["gemini-3.8-flash-tts"]["outputs"] == ["audio"]
    assert (entries["gemma-4-31b-it"]["limits"], entries["gemma-4-31b-it"]["cost"]) == (None, None)


@pytest.mark.parametrize(
    ("query", "some", "others"),
    [
        ("kind=agent", "antigravity-preview-09-2026", "gemini-3.8-flash"),
        ("kind=agent", "antigravity-preview-05-2026", "gemini-2.5-*"),
        ("kind=model", "gemini-3.8-flash", "antigravity-preview-09-2026"),
        ("ability=functions", "gemini-3.8-flash", "deep-research-preview-04-2026"),
        ("ability=research&ability=planning", "deep-research-preview-04-2026", "antigravity-preview-09-2026"),
        ("kind=agent&ability=functions", "antigravity-preview-09-2026", "gemini-3.8-flash"),
    ],
)
def test_the_catalog_can_be_asked_for_a_part(guest: Tenant, query: str, some: str, others: str) -> None:
    found = {entry["id"] for entry in guest.get(f"/v1/catalog?{query}").json()["data"]}

    assert some in found
    assert others not in found


def test_a_kind_that_does_not_exist_is_told(guest: Tenant) -> None:
    answer = guest.get("/v1/catalog?kind=robot")

    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/kind")


OVERRIDE = {
    "families": {"own": {"abilities": ["text", "knitting"], "inputs": ["text"], "outputs": ["text"], "tools": []}},
    "entries": [
        {"kind": "agent", "id": "our-knitter", "family": "own", "about": "Knits", "timeout_s": 77, "poll": "model"}
    ],
    "retired": [{"kind": "agent", "pattern": "our-crocheter", "to": "our-knitter", "reason": "wool is out"}],
}


@pytest.fixture
def overridden(own_settings: MakeSettings, tmp_path: Path) -> Iterator[Server]:
    """A server whose operator has a catalog of their own over ours."""
    path = tmp_path / "catalog.json"
    path.write_bytes(orjson.dumps(OVERRIDE))
    with serving(own_settings(catalog_file=path)) as server:
        yield server


def test_what_an_operator_adds_is_known_everywhere(overridden: Server) -> None:
    tenant = overridden.tenant()

    (entry,) = tenant.get("/v1/catalog?ability=knitting").json()["data"]
    job = tenant.post("/v1/jobs", {"agent": "our-crocheter", "input": "x"}).json()
    running = Worker(overridden.context).start(job["id"])

    assert (entry["id"], entry["about"], entry["default_timeout_seconds"]) == ("our-knitter", "Knits", 77)
    told = [{"from": "our-crocheter", "to": "our-knitter", "reason": "wool is out"}]
    assert (job["agent"], job["substitutions"]) == ("our-knitter", told)
    assert running.timeout_seconds == 77
    assert overridden.context.schedule("agent", "our-knitter") == overridden.context.schedule("model", "any")
    events = tenant.get(f"/v1/jobs/{job['id']}/events", headers={"Accept": "application/json"}).json()["data"]
    assert events[0]["data"]["substitutions"] == told


def test_strict_model_refuses_and_names_the_replacement(overridden: Server) -> None:
    tenant = overridden.tenant()
    strict = {"agent": "our-crocheter", "input": "x", "strict_model": True}

    alone = tenant.post("/v1/jobs", strict).json()["errors"]
    batch = tenant.post("/v1/jobs/batch", {"jobs": [strict]}).json()["errors"]

    refused = "wool is out; use our-knitter, or leave out strict_model"
    assert alone == [{"pointer": "/agent", "detail": refused}]
    assert batch == [{"pointer": "/jobs/0/agent", "detail": refused}]


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (b'{"entries": [', "NIGHTDESK_CATALOG_FILE: is not JSON"),
        (b'{"entries": [{"kind": "model"}]}', "NIGHTDESK_CATALOG_FILE: .* entries/0/id: Field required"),
        (b'{"retired": [{"kind": "agent", "pattern": "a", "to": "gemma-4-31b-it"}]}', "retired/0/to: .* is no agent"),
        (None, "NIGHTDESK_CATALOG_FILE: cannot be read [(]No such file"),
    ],
)
def test_a_bad_catalog_file_stops_the_start(
    own_settings: MakeSettings, tmp_path: Path, written: bytes | None, told: str
) -> None:
    path = tmp_path / "catalog.json"
    if written is not None:
        path.write_bytes(written)

    with pytest.raises(SettingsError, match=told):
        contexts.build(own_settings(catalog_file=path))


def test_the_manual_needs_nothing_from_elsewhere(sqlite_server: Server) -> None:
    answer = sqlite_server.client().get("/docs")

    assert answer.headers["content-type"].startswith("text/html")
    assert "<script" not in answer.text
    assert not re.search(r"""(?:src|href|action|url|import)\s*[=(]?\s*["']?\s*(?:https?:)?//""", answer.text)
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    for path in sqlite_server.contract.document["paths"]:
        assert path in answer.text


def test_what_anybody_may_ask_for_is_written_once(sqlite_server: Server) -> None:
    client, paths = sqlite_server.client(), ("/docs", "/openapi.json")
    first = [client.get(path).content for path in paths]
    about = sqlite_server.app.openapi()["info"]
    title = about["title"]

    about["title"] = "Another"
    again = [client.get(path).content for path in paths]
    about["title"] = title

    assert again == first


def test_the_front_door_links_to_the_manual(sqlite_server: Server) -> None:
    client = sqlite_server.client()

    plain, html = client.get("/"), client.get("/", headers={"Accept": "text/html"})

    assert plain.headers["content-type"].startswith("text/plain")
    assert "/docs" in plain.text
    assert '<a href="/docs">' in html.text


def test_the_log_has_one_line_for_each_request_without_what_was_sent(tenant: Tenant) -> None:
    records = list[logging.LogRecord]()
    handler, logger = logging.Handler(), logging.getLogger("nightdesk")
    handler.emit = records.append  # type: ignore[method-assign, assignment]
    logger.addHandler(handler)
    logging.getLogger().setLevel("INFO")

    made = tenant.post("/v1/jobs?secret=query", {"model": "gemini-3.8-flash", "input": "secret prompt"})
    read = tenant.get(f"/v1/jobs/{made.json()['id']}?include=input")
    names = [answer.headers["x-request-id"] for answer in (made, read)]

    def lines() -> list[dict[str, Any]]:
        """Those of these two: requests of other tests may end just now."""
        written = [record.msg for record in list(records) if isinstance(record.msg, dict)]
        return [line for line in written if line["event"] == "request" and line["request_id"] in names]

    # The line is written when the answer is on its way already.
    eventually(lambda: len(lines()) == 2)

    logging.getLogger().setLevel("WARNING")
    logger.removeHandler(handler)
    told = [(line["method"], line["route"], line["status"]) for line in lines()]
    assert told == [("POST", "/v1/jobs", 202), ("GET", "/v1/jobs/{job_id}", 200)]
    assert "secret" not in str([record.msg for record in records])
