"""What was used and what was substituted, in a whole installation: HTTP, Celery, the SDK, and a catalog of our own."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from tests.stack import Stack
from tests.system.desk import DONE_S, Desk
from tests.waiting import PATIENCE_S, eventually
from worker.states import TERMINAL

MODEL, AGENT = "gemini-3.8-flash", "deep-research-preview-04-2026"
QUOTA = 50_000
"""Tokens a day: a simulated research takes more, everything else here far less."""

CATALOG = {
    "families": {"own": {"abilities": ["text", "knitting"], "inputs": ["text"], "outputs": ["text"]}},
    "entries": [
        {"kind": "agent", "id": "our-knitter", "family": "own", "timeout_s": 777, "poll": "model"},
        {"kind": "model", "id": "gemini-1.5-flash", "family": "gemini"},
    ],
    "retired": [{"kind": "agent", "pattern": "our-crocheter", "to": "our-knitter", "reason": "wool is out"}],
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("accounts")
    (folder / "catalog.json").write_text(json.dumps(CATALOG))
    env = {
        "NIGHTDESK_CATALOG_FILE": str(folder / "catalog.json"),
        "NIGHTDESK_MAX_TOKENS_PER_DAY": str(QUOTA),
        "NIGHTDESK_POLL_MODEL_START_S": "0.2",
        "NIGHTDESK_POLL_MODEL_CAP_S": "0.5",
        "NIGHTDESK_POLL_AGENT_START_S": "0.5",
    }
    simulator = {"model_s": 0.3, "agent_s": 0.5, "jitter": 0.0, "custom_agents": ("our-knitter",)}
    with Stack(folder, simulator=simulator, env=env) as running:
        yield running


def submit(client: httpx2.Client, **fields: Any) -> dict[str, Any]:
    body = fields if "agent" in fields else {"model": MODEL} | fields
    answer = client.post("/v1/jobs", json={"input": "Say hello."} | body)
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()
    return job


def ended(desk: Desk, job_id: str) -> dict[str, Any]:
    eventually(lambda: desk.job(job_id)["status"] in TERMINAL, within_s=DONE_S, what="the end of the job")
    return desk.job(job_id)


def used(client: httpx2.Client, **query: str) -> dict[Any, dict[str, Any]]:
    answer = client.get("/v1/usage", params={"limit": "100"} | query)
    assert answer.status_code == 200, answer.text
    return {one["group"]: one for one in answer.json()["data"]}


def test_failed_cancelled_and_completed_runs_are_paid_for(client: httpx2.Client, desk: Desk) -> None:
    failing = {"input": "[[sim: status=failed code=invalid_request]]"}
    completed, failed = submit(client)["id"], submit(client, **failing)["id"]
    cancelled = submit(client, input="[[sim: duration=100]]")["id"]
    eventually(lambda: desk.job(cancelled)["status"] == "in_progress", within_s=DONE_S, what="the start")
    client.post(f"/v1/jobs/{cancelled}/cancel")

    jobs = [ended(desk, job_id) for job_id in (completed, failed, cancelled)]

    assert [job["status"] for job in jobs] == ["completed", "failed", "cancelled"]
    by_job = used(client, group_by="job")
    for job in jobs:
        sums = by_job[job["id"]]
        assert sums["interactions"] == 1
        assert sums["usage"] == {name: job["usage"][name] for name in sums["usage"]}
        assert sums["usage"]["total_tokens"] > 0


def silent(client: httpx2.Client, desk: Desk) -> httpx2.Response | None:
    """An ended job as it is while its usage is not told, nor in the ledger; None: it came before that was seen."""
    path = f"/v1/jobs/{ended(desk, submit(client, input='[[sim: usage=3]]')['id'])['id']}"
    seen = client.get(path)
    ledger = used(client, group_by="job")
    is_still = client.get(path, headers={"If-None-Match": seen.headers["etag"]}).status_code == 304
    return seen if is_still and seen.json()["usage"] is None and seen.json()["id"] not in ledger else None


def test_usage_that_comes_late_reaches_its_ended_job(client: httpx2.Client, desk: Desk) -> None:
    before = eventually(lambda: silent(client, desk), within_s=DONE_S, what="a job without its usage")
    job, tag = before.json(), before.headers["etag"]
    job_id = job["id"]
    assert job["status"] == "completed"

    eventually(lambda: desk.job(job_id)["usage"], within_s=DONE_S, what="the usage")

    after = desk.job(job_id)
    assert after == job | {"usage": after["usage"]}
    assert client.get(f"/v1/jobs/{job_id}", headers={"If-None-Match": tag}).status_code == 200
    assert used(client, group_by="job")[job_id]["usage"]["total_tokens"] == after["usage"]["total_tokens"]
    events = client.get(f"/v1/jobs/{job_id}/events", headers={"Accept": "application/json"}).json()["data"]
    assert [event["type"] for event in events] == ["job.created", "job.started", "job.completed"]


def test_turns_are_told_apart_and_add_up_to_their_job(client: httpx2.Client, desk: Desk) -> None:
    job_id = submit(client, input="[[sim: status=requires_continuation]] Tell me of owls.")["id"]
    job = ended(desk, job_id)

    turns = used(client, group_by="turn", job=job_id)

    assert (job["status"], job["turn"], sorted(turns)) == ("completed", 2, [1, 2])
    assert sum(turn["usage"]["total_tokens"] for turn in turns.values()) == job["usage"]["total_tokens"]
    (conversation,) = used(client, group_by="conversation", conversation=job["conversation_id"]).values()
    assert conversation["usage"]["total_tokens"] == job["usage"]["total_tokens"]


def test_sums_by_key_target_and_day_are_the_same_whole(client: httpx2.Client, desk: Desk) -> None:
    ended(desk, submit(client)["id"])
    answer = client.get("/v1/usage", params={"group_by": "target"}).json()

    groups = [used(client, group_by=name) for name in ("target", "key", "day", "conversation")]

    for found in groups:
        assert sum(one["interactions"] for one in found.values()) == answer["totals"]["interactions"]
    assert all(key.startswith("key_") for key in groups[1])
    counter = f'nightdesk_tokens_total{{kind="output",target="{MODEL}"}} '
    (line,) = eventually(lambda: [one for one in desk.metrics() if one.startswith(counter)], what="the sweep's sums")
    assert float(line.split()[1]) > 0


def refusal(heavy: httpx2.Client, desk: Desk, key: str) -> httpx2.Response | None:
    """Spend a day's tokens, and be refused for it; None: that day is over."""
    today = datetime.now(UTC).date()
    job_id = submit(heavy, agent=AGENT, input="How do owls hunt?")["id"]
    eventually(lambda: desk.job(job_id, key)["status"] == "completed", within_s=DONE_S, what="the research")
    assert desk.job(job_id, key)["usage"]["total_tokens"] >= QUOTA

    def answer() -> httpx2.Response | None:
        answer = heavy.post("/v1/jobs", json={"model": MODEL, "input": "x"})
        return answer if answer.status_code == 429 or datetime.now(UTC).date() != today else None

    last = eventually(answer, within_s=DONE_S, what="the refusal")
    return last if last.status_code == 429 else None


def test_a_project_over_its_quota_waits_and_the_others_go_on(stack: Stack, client: httpx2.Client, desk: Desk) -> None:
    key = desk.command("keys", "create", "--name", "heavy", "--project", "heavy")
    headers = {"Authorization": f"Bearer {key}"}
    with httpx2.Client(base_url=stack.url, headers=headers, timeout=PATIENCE_S) as heavy:
        refused = eventually(lambda: refusal(heavy, desk, key), within_s=2 * DONE_S, what="the quota")

    assert (refused.json()["code"], refused.headers["ratelimit-limit"]) == ("quota_exceeded", str(QUOTA))
    assert 0 < int(refused.headers["retry-after"]) <= 86_400
    assert submit(client)["status"] == "queued"


def test_an_operators_own_agent_runs_and_replaces_another(client: httpx2.Client, desk: Desk) -> None:
    lane = desk.lane("wool")
    asked = submit(client, agent="our-crocheter", labels={"lane": lane})
    job = ended(desk, asked["id"])

    (run,) = desk.created(lane)
    told = [{"from": "our-crocheter", "to": "our-knitter", "reason": "wool is out"}]
    assert (job["status"], job["agent"], run["target"]) == ("completed", "our-knitter", "our-knitter")
    assert asked["substitutions"] == job["substitutions"] == told
    events = client.get(f"/v1/jobs/{job['id']}/events", headers={"Accept": "application/json"}).json()["data"]
    assert all(event["data"]["substitutions"] == told for event in events)
    (entry,) = client.get("/v1/catalog?ability=knitting").json()["data"]
    assert (entry["id"], entry["default_timeout_seconds"]) == ("our-knitter", 777)
    assert used(client, group_by="target")["our-knitter"]["interactions"] == 1
    strict = {"agent": "our-crocheter", "input": "x", "strict_model": True}
    refused = client.post("/v1/jobs", json=strict)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/agent")
    assert "use our-knitter" in refused.json()["errors"][0]["detail"]


def test_api_and_worker_tell_of_retired_ids_when_they_start(stack: Stack) -> None:
    doubt = "model gemini-1.5-flash is in the catalog, and retired: jobs for it run as gemini-3.8-flash"

    for log in ("api.log", "worker-0.log"):
        lines = [json.loads(line) for line in (stack.folder / log).read_text().splitlines() if line.startswith("{")]
        assert [line["told"] for line in lines if line.get("outcome") == "retired_ids"] == [[doubt]]
