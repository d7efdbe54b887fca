"""What the upstream answers to a create, and what becomes of the job: one POST, and no attempt lost to a refusal."""

import pytest

from tests.integration.engine.engine import AGENT, Engine
from worker.errors import CreateRefused


def test_a_rejected_create_fails_its_job_and_leaves_no_interaction(engine: Engine) -> None:
    job_id = engine.submit()
    engine.control.fault("create", status=400, code="invalid_request", message="No such tool.")

    assert engine.start(job_id) == "failed"

    error = engine.job(job_id).error or {}
    assert (error["code"], error["message"], error["retryable"]) == ("upstream_rejected", "No such tool.", False)
    assert error["upstream"] == {"status": 400, "code": "invalid_request", "message": "No such tool."}
    assert (engine.count("create"), engine.interactions(job_id)) == (1, [])
    assert engine.events(job_id) == ["job.created", "job.failed"]


def test_a_create_blocked_for_its_content_says_so(engine: Engine) -> None:
    job_id = engine.submit()
    engine.control.fault("create", status=400, code="prohibited_content")

    engine.start(job_id)

    assert engine.error(job_id) == "safety_blocked"


@pytest.mark.parametrize(("status", "code"), [(429, "rate_limit_exceeded"), (503, "service_unavailable")])
def test_a_refused_create_goes_back_to_the_queue_with_its_attempt(engine: Engine, status: int, code: str) -> None:
    job_id = engine.submit(agent=AGENT)
    queued = engine.job(job_id)
    engine.control.fault("create", status=status, code=code, count=1)

    assert engine.start(job_id) == "refused"

    job = engine.job(job_id)
    assert (job.status, job.attempt, job.sent_at, job.claim) == ("queued", 1, None, None)
    assert job.deadline_at == queued.deadline_at
    assert engine.interactions(job_id) == []

    engine.pass_time(60)
    assert engine.start(job_id) == "started"
    assert (engine.job(job_id).attempt, engine.count("create")) == (1, 2)


def test_a_create_that_never_left_goes_back_to_the_queue(engine: Engine) -> None:
    job_id = engine.submit(agent=AGENT)

    def refuse(_request: object) -> None:
        raise CreateRefused("create was not sent: ConnectError")

    engine.between("gemini").before["create"] = refuse

    assert engine.start(job_id) == "refused"
    assert (engine.status(job_id), engine.job(job_id).attempt, engine.count("create")) == ("queued", 1, 0)


def test_a_403_is_the_jobs_own_trouble(engine: Engine) -> None:
    refused, other = engine.submit(), engine.submit()
    engine.control.fault("create", status=403, code="permission_denied", count=1)

    assert engine.start(refused) == "failed"

    assert engine.error(refused) == "upstream_rejected"
    assert engine.start(other) == "started"


def test_a_job_is_started_once_however_often_it_is_hinted(engine: Engine) -> None:
    job_id = engine.started()

    assert engine.start(job_id) == "nothing"
    assert engine.count("create") == 1


def test_a_job_that_is_not_there_starts_nothing(engine: Engine) -> None:
    assert engine.start("job_of_nobody") == "nothing"


def test_a_model_retired_after_submission_is_substituted_at_the_start(engine: Engine) -> None:
    job_id = engine.submit()
    engine.change(job_id, target="gemini-2.5-pro")

    engine.start(job_id)

    job = engine.job(job_id)
    assert job.target == "gemini-3.1-pro-preview"
    assert [(one["from"], one["to"]) for one in job.substitutions] == [("gemini-2.5-pro", "gemini-3.1-pro-preview")]
    assert [run["target"] for run in engine.runs().values()] == ["gemini-3.1-pro-preview"]


def test_a_strict_job_whose_model_was_retired_fails_without_a_create(engine: Engine) -> None:
    job_id = engine.submit(strict_model=True)
    engine.change(job_id, target="gemini-2.5-pro")

    assert engine.start(job_id) == "failed"

    assert "gemini-3.1-pro-preview" in (engine.job(job_id).error or {})["message"]
    assert (engine.count("create"), engine.interactions(job_id)) == (0, [])


def test_a_substituted_job_waits_at_the_gate_of_its_new_target(engine: Engine) -> None:
    engine.control.fault("create", status=429, retry_after_s=60, count=1)
    engine.start(engine.submit(model="gemini-3.1-pro-preview"))
    job_id = engine.submit()
    engine.change(job_id, target="gemini-2.5-pro")

    assert engine.start(job_id) == "nothing"
    assert engine.status(job_id) == "queued"


def test_a_status_with_nul_does_not_cost_the_paid_id(engine: Engine) -> None:
    job_id = engine.submit()
    engine.between("gemini").after["create"] = lambda created: object.__setattr__(
        created, "status", "a\x00\ud800b" * 99
    )

    assert engine.start(job_id) == "started"

    assert len(engine.job(job_id).upstream_status or "") == 64
    assert engine.job(job_id).interaction_id in engine.runs()


def test_an_interaction_of_another_job_is_never_attached(engine: Engine) -> None:
    first, second = engine.started(), engine.submit()
    taken = engine.job(first).interaction_id
    engine.between("gemini").after["create"] = lambda created: object.__setattr__(created, "upstream_id", taken)

    assert engine.start(second) == "id_of_another"

    assert (engine.status(first), engine.status(second)) == ("in_progress", "starting")
    engine.sweep(41)
    assert engine.status(second) == "unconfirmed"
