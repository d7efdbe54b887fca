"""The law of no leak: what is secret or private stands in no log line, no message and no error's text."""

import logging
import traceback
from base64 import b64decode
from collections.abc import Callable
from typing import Any, Literal

import orjson
import pytest
import sqlalchemy as sa

from tests.integration.engine.engine import Engine
from tests.integration.engine.hooks import Hooks, Say
from worker import telemetry
from worker.app import POLL
from worker.errors import ArtifactStoreError
from worker.flow import secrets
from worker.models import Interaction, Job
from worker.tasks import CrashedError, Shares

CANARY = "canary-7d1f"


def messages(engine: Engine) -> str:
    """Every message that waits, as Flower and the workers would get it."""
    client = engine.context.sender._redis
    queues = [queue for queue in ("start", "poll", "control", "deliver") if client.exists(queue)]
    found = [orjson.loads(raw) for queue in queues for raw in client.lrange(queue, 0, -1)]
    assert found
    return "".join(str(message) + b64decode(message["body"]).decode() for message in found)


def private(hooks: Hooks) -> dict[str, Any]:
    """A submission that is full of canaries."""
    return {
        "input": f"{CANARY} [[sim: text={CANARY}]]",
        "system_instruction": CANARY,
        "metadata": {"note": CANARY},
        "labels": {"team": CANARY},
        "webhook_url": hooks.url(f"/{CANARY}?token={CANARY}"),
        "webhook_events": ["job.created", "job.started", "job.completed", "job.failed", "job.cancelled"],
    }


def test_a_whole_life_says_nothing_private(engine: Engine, hooks: Hooks, said: Callable[[], str]) -> None:
    hooks.answers[f"/{CANARY}"] = [Say(500, body=CANARY.encode()), Say(204)]
    job_id = engine.submit(**private(hooks))
    engine.start(job_id)
    engine.poll()
    engine.finish(job_id)
    engine.poll()
    engine.sweep()
    told = messages(engine)
    engine.deliver()
    engine.clock.advance(6)
    engine.deliver()
    spoken = said()

    assert engine.status(job_id) == "completed"
    assert job_id in spoken
    assert job_id in told
    for text in (spoken, told):
        assert CANARY not in text
        assert secrets.current(engine.context, engine.project_id) not in text
        assert "simulated" not in text


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 400, "message": CANARY},
        {"status": 500, "message": CANARY},
        {"status": 429, "message": CANARY},
        {"kind": "broken"},
        {"kind": "html"},
    ],
)
def test_an_upstream_that_quotes_the_prompt_is_not_repeated(
    engine: Engine, hooks: Hooks, said: Callable[[], str], fault: dict[str, Any]
) -> None:
    job_id = engine.submit(**private(hooks), max_attempts=1)
    engine.control.fault("create", **fault)

    engine.start(job_id)
    engine.sweep(100)
    engine.poll()
    spoken = said()

    assert job_id in spoken
    assert CANARY not in spoken + messages(engine)


def test_a_run_that_fails_with_the_prompt_in_its_errors_is_not_repeated(
    engine: Engine, hooks: Hooks, said: Callable[[], str]
) -> None:
    job_id = engine.started(**private(hooks), max_attempts=1)

    engine.finish(job_id, status="failed", code="internal", message=CANARY)
    engine.poll()
    spoken = said()

    assert job_id in spoken
    assert CANARY not in spoken
    assert engine.status(job_id) == "failed"


@pytest.mark.parametrize("error", [RuntimeError(CANARY), ArtifactStoreError("the store is away"), OSError(CANARY)])
def test_an_unforeseen_error_is_named_and_not_quoted(
    engine: Engine, hooks: Hooks, said: Callable[[], str], error: Exception
) -> None:
    job_id = engine.started(**private(hooks) | {"model": "gemini-3-pro-image", "input": f"{CANARY} [[sim: images=1]]"})
    engine.finish(job_id)

    def fail(*_: object) -> None:
        raise error

    engine.between("artifacts").before["put"] = fail
    engine.poll()
    spoken = said()

    assert job_id in spoken
    assert CANARY not in spoken


def test_a_databases_complaint_carries_no_values(engine: Engine) -> None:
    job_id = engine.started(metadata={"note": CANARY})

    def execute(statement: sa.Executable) -> None:
        with engine.context.database.write() as session:
            session.execute(statement)

    def provoke(statement: sa.Executable) -> str:
        with pytest.raises(sa.exc.DBAPIError) as complaint:
            execute(statement)
        return repr(complaint.value) + "".join(traceback.format_exception(complaint.value))

    token = engine.interactions(job_id)[0].token
    post = {"job_id": job_id, "turn": 1, "attempt": 1, "created_at": engine.clock(), "status": CANARY}
    twice = sa.insert(Interaction).values(token=token, **post)
    bare = sa.insert(Job).values(id=f"job_{CANARY}", project_id=CANARY, user_metadata={"note": CANARY})
    nul = sa.update(Job).values(thought=f"{CANARY}\x00")
    statements = [twice, bare] if engine.context.database.is_sqlite else [twice, bare, nul]

    assert all(CANARY not in provoke(statement) for statement in statements)


def test_secrets_are_stored_sealed(engine: Engine) -> None:
    secret = secrets.rotate(engine.context, engine.project_id)

    with engine.context.database.read() as session:
        rows = session.execute(sa.text("SELECT webhook_secret, old_webhook_secret FROM project")).all()

    stored = b"".join(bytes(value) for row in rows for value in row if value is not None)
    assert stored
    assert secret.removeprefix("whsec_").encode() not in stored


def test_a_steps_line_names_an_error_without_its_text(said: Callable[[], str]) -> None:
    @telemetry.step("job.start", job_id="job_x")
    def fail() -> None:
        raise RuntimeError(CANARY)

    with pytest.raises(RuntimeError):
        fail()

    spoken = said()
    assert "RuntimeError" in spoken
    assert CANARY not in spoken


def test_a_task_that_crashes_tells_celery_and_the_log_its_kind_and_place_only(said: Callable[[], str]) -> None:
    def fail() -> None:
        raise RuntimeError(CANARY)

    with pytest.raises(CrashedError) as crash:
        Shares(8).run(POLL, fail)

    spoken = said() + "".join(traceback.format_exception(crash.value))
    assert str(crash.value) == "RuntimeError"
    assert "test_leaks.py:" in spoken
    assert CANARY not in spoken


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_traceback_that_a_library_logs_is_not_quoted(
    capfd: pytest.CaptureFixture[str], log_format: Literal["json", "console"]
) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    telemetry.set_up(log_format, "info")
    try:
        int(CANARY)
    except ValueError as error:
        logging.getLogger("uvicorn.error").exception("Exception in ASGI application")
        telemetry.log.exception("request_failed", route="/v1/jobs")
        telemetry.log.error("submit", exc_info=error)
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)

    spoken = capfd.readouterr().err
    assert spoken.count("ValueError") == spoken.count("test_leaks.py:") == 3
    assert CANARY not in spoken
