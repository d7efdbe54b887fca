"""What browsers are told: nothing of an answer runs, is guessed at, is kept, or is open to another origin."""

from collections import defaultdict

import pytest

from tests.integration.api.engine import Worker
from tests.integration.api.serving import Server, Tenant

ELSEWHERE = "https://elsewhere.example"
PRIVATE = {"no-store", "private, no-cache"}


def test_every_answer_says_what_a_browser_may_do_with_it(sqlite_server: Server, guest: Tenant, local: Worker) -> None:
    job_id = guest.submit()["id"]
    local.complete(job_id, output_text="Hello.")
    paths = [path for path, calls in sqlite_server.contract.document["paths"].items() if "get" in calls]
    names = {"job_id": job_id, "conversation_id": job_id, "interaction_id": job_id, "version": "v1"}
    concrete = [path.format_map(defaultdict(lambda: "0", names)) for path in paths]

    answers = {path: guest.get(path) for path in [*concrete, "/", "/docs", "/openapi.json", "/nowhere"]}
    answers["a wrong method"] = guest.http.request("PUT", "/v1/jobs")
    answers["a bad body"] = guest.post("/v1/jobs", content=b"{")
    answers["a bad field"] = guest.post("/gemini/v1/interactions", {"model": 1})
    answers["no key"] = sqlite_server.client().get("/v1/jobs")

    for path, answer in answers.items():
        told = answer.headers
        assert told["x-content-type-options"] == "nosniff", path
        assert told["referrer-policy"] == "no-referrer", path
        assert told["cache-control"] in PRIVATE, path
        assert "default-src 'none'" in told["content-security-policy"], path
        assert "script-src" not in told["content-security-policy"], path
        assert "set-cookie" not in told, path
        assert "server" not in told, path


@pytest.mark.parametrize("path", ["/v1/jobs", "/gemini/v1/interactions", "/openapi.json", "/v1/files", "/healthz"])
def test_another_origin_is_given_nothing(guest: Tenant, path: str) -> None:
    asks = {"Origin": ELSEWHERE, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-a"}

    preflight = guest.http.request("OPTIONS", path, headers=asks)
    answer = guest.get(path, headers={"Origin": ELSEWHERE})

    assert preflight.status_code == 405
    told = [name for one in (preflight, answer) for name in one.headers if name.startswith("access-control-")]
    assert told == []


@pytest.mark.parametrize("method", ["TRACE", "TRACK", "PROPFIND", "CONNECT", "FOO"])
def test_a_method_that_nobody_knows_is_refused(guest: Tenant, method: str) -> None:
    secret = {"X-Secret": "of-value"}

    answer = guest.http.request(method, "/v1/jobs", headers=secret)

    assert answer.status_code in {400, 405}
    assert "of-value" not in answer.text
