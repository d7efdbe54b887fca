"""A whole installation that hears upstream events: a create's answer is lost, and the job completes all the same."""

from pathlib import Path
from typing import Any

import httpx2

from tests.stack import Stack
from tests.waiting import PATIENCE_S, eventually
from worker.dev.simulator import Control
from worker.states import TERMINAL

RUN = "x [[sim: create=lost times=1]] [[sim: duration=1000]]"
DYNAMIC = {"NIGHTDESK_GEMINI_WEBHOOKS": "dynamic"}


def test_a_run_whose_create_was_lost_is_adopted_by_its_event(tmp_path: Path) -> None:
    with (
        Stack(tmp_path, env=DYNAMIC) as stack,
        httpx2.Client(base_url=stack.url, headers=stack.headers, timeout=PATIENCE_S) as client,
    ):
        submitted = {"agent": "deep-research-preview-04-2026", "input": RUN}
        path = client.post("/v1/jobs", json=submitted).headers["location"]
        control = Control(stack.simulator_url)

        def status() -> str:
            return str(client.get(path).json()["status"])

        eventually(lambda: status() == "unconfirmed", what="the loss of the answer")
        (run,) = control.interactions()
        control.direct(run["id"], finish=True)
        eventually(lambda: status() in TERMINAL, what="the end of the job")

        job: dict[str, Any] = client.get(path).json()
        assert (job["status"], job["attempt"], job["interaction_id"]) == ("completed", 1, run["id"])
        assert control.stats()["calls"]["create"] == {"dropped": 1}
        assert control.posts(RUN) == control.created(RUN) == 1
        events = client.get(f"{path}/events", headers={"Accept": "application/json"}).json()["data"]
        assert [event["type"] for event in events] == ["job.created", "job.started", "job.completed"]
