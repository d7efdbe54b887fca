"""A job that is deleted, or past its retention, leaves no content anywhere: not here and not upstream."""

import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlmodel import SQLModel

from tests import factories
from tests.integration.engine.asking import TOOLS, answer, results, settled
from tests.integration.engine.engine import MODEL, Engine
from tests.integration.engine.hooks import Hooks, Say
from worker.errors import Invalid
from worker.flow import adopt, attempt, forget, remove
from worker.flow.attempt import Attempt
from worker.flow.submit import Order
from worker.gemini.request import build
from worker.models import AuditEntry, Event, Interaction, Job, Leftover, Result
from worker.store import audit

CANARY = "canary-3b9e"
DAY_S = 86_400


def private(hooks: Hooks) -> dict[str, Any]:
    """Something of its owner's in every place of a submission that takes it."""
    return {
        "system_instruction": CANARY,
        "labels": {"team": CANARY},
        "metadata": {"note": CANARY},
        "extra_body": {"cached_content": CANARY},
        "webhook_url": hooks.url(f"/{CANARY}?token={CANARY}"),
        "webhook_events": ["job.created", "job.started", "job.requires_action", "job.completed"],
        "max_attempts": 2,
    }


def lived(engine: Engine, hooks: Hooks) -> list[str]:
    """Jobs that are over: one of two turns, and one that made a picture, the first time in vain."""
    hooks.answers[f"/{CANARY}"] = [Say(500, body=CANARY.encode()), Say(204, body=CANARY.encode())]
    server = {"type": "mcp_server", "name": "m", "url": f"https://{CANARY}.example.com", "headers": {"X-Key": CANARY}}
    asks = {"input": f"{CANARY} [[sim: calls=1]]", "tools": [*TOOLS, server]}
    draws = {"input": f"{CANARY} [[sim: images=1 text={CANARY}]]", "model": "gemini-3-pro-image"}
    drafts = {key: engine.draft(**private(hooks), **fields) for key, fields in (("monday", asks), ("sunday", draws))}
    asking, drawing = (engine.accept(draft, key=key).jobs[0].id for key, draft in drafts.items())
    for job_id in (asking, drawing):
        assert engine.start(job_id) == "started"
    settled(engine, asking)
    answer(engine, asking, results(engine, asking, CANARY), key="tuesday")
    settled(engine, drawing, status="failed", code="internal", message=CANARY)
    engine.clock.advance(60)
    for job_id in (asking, drawing):
        engine.start(job_id)
        settled(engine, job_id)
    engine.deliver()
    engine.clock.advance(6)
    engine.deliver()
    assert [engine.status(job_id) for job_id in (asking, drawing)] == ["completed"] * 2
    assert len(files(engine)) == 1
    return [asking, drawing]


def dumped(engine: Engine) -> str:
    """Every value of every row of every table."""
    with engine.context.database.read() as session:
        rows = [tuple(row) for table in SQLModel.metadata.sorted_tables for row in session.execute(sa.select(table))]
    return "\n".join(map(repr, rows))


def lying(engine: Engine) -> bytes:
    """What lies in the columns of requests, sealed as it is."""
    with engine.context.database.read() as session:
        return b"".join(bytes(row.body) for row in session.execute(sa.text("SELECT body FROM job_input")))


def files(engine: Engine) -> list[Path]:
    """All artifacts."""
    folder = Path(engine.context.settings.artifacts.removeprefix("file://"))
    return [path for path in folder.rglob("*") if path.is_file()]


def upstream_ids(engine: Engine, job_ids: list[str]) -> list[str]:
    return [row.upstream_id or "" for job_id in job_ids for row in engine.interactions(job_id)]


def test_a_deleted_job_leaves_no_content(engine: Engine, hooks: Hooks) -> None:
    job_ids = lived(engine, hooks)
    names = upstream_ids(engine, job_ids)
    assert CANARY in dumped(engine)
    assert CANARY.encode() not in lying(engine)

    for job_id in job_ids:
        remove.job(engine.context, engine.project_id, job_id)

    left = dumped(engine)
    assert not [text for text in (CANARY, "127.0.0.1") if text in left]
    assert all(job_id in left for job_id in job_ids)
    assert files(engine) == []
    assert [engine.runs()[name]["deleted"] for name in names] == [True] * 4


def test_a_job_past_its_retention_leaves_no_content(engine: Engine, hooks: Hooks) -> None:
    engine.set(result_retention_days=1, job_retention_days=2)
    job_ids = lived(engine, hooks)
    names = upstream_ids(engine, job_ids)

    for days in (2, 29, 1):
        engine.clock.advance(days * DAY_S)
        engine.sweep()
    for _ in range(10):
        # On a slow machine each sweep does less.
        engine.clock.advance(600)
        engine.sweep()
        if not engine.rows(Leftover):
            break

    assert CANARY not in dumped(engine)
    assert files(engine) == []
    assert [engine.runs()[name]["deleted"] for name in names] == [True] * 4
    assert engine.rows(Leftover) == []


def test_what_the_upstream_has_forgotten_by_itself_is_not_asked_for(engine: Engine) -> None:
    job_id = engine.started()
    settled(engine, job_id)

    engine.clock.advance(91 * DAY_S)
    engine.sweep()
    engine.sweep(60)

    assert engine.rows(Job) == []
    assert engine.count("delete") == 0


def test_more_than_one_batch_is_forgotten(engine: Engine) -> None:
    long_ago = engine.clock.now - timedelta(days=100)
    rows = [factories.job(engine.project_id, status="completed", finished_at=long_ago) for _ in range(1200)]
    with engine.context.database.write() as session:
        session.add_all(rows)

    for _ in range(100):
        # On a slow machine each sweep does less.
        if not engine.rows(Job):
            break
        engine.sweep(60)

    assert engine.rows(Job) == []


def test_more_of_the_audit_log_than_one_batch_is_forgotten(engine: Engine) -> None:
    """Or it would grow for ever where more comes in than is pruned."""
    old = engine.clock() - timedelta(days=engine.context.settings.audit_retention_days, minutes=1)
    deed = audit.Deed(project_id=engine.project_id, by=audit.Actor("key_x"), action=audit.CANCELLED, subject="old")
    with engine.context.database.write() as session:
        audit.note_all(session, [deed] * (forget.AUDITED + 1), old)

    for _ in range(10):
        # As above; one batch at least.
        if not engine.rows(AuditEntry):
            break
        engine.sweep(60)

    assert engine.rows(AuditEntry) == []


@pytest.mark.parametrize(("size", "took_s", "then"), [(10, 0.05, 10), (10, 0.5, 1), (1, 9.0, 1), (10, 0.0, 500)])
def test_a_transaction_takes_as_many_rows_as_the_one_before_was_quick(size: int, took_s: float, then: int) -> None:
    """For nobody else writes to SQLite meanwhile, and a result may be megabytes."""
    assert forget.next_size(size, took_s) == then


def test_no_transaction_takes_many_results_before_it_is_known_how_large_they_are(engine: Engine) -> None:
    many = forget.FIRST + 1
    old = engine.clock() - timedelta(days=40)
    rows = [factories.job(engine.project_id, status="completed", finished_at=old) for _ in range(many)]
    given: dict[str, Any] = {"turn": 1, "created_at": old, "expires_at": old, "has_artifacts": False}
    with engine.context.database.write() as session:
        session.add_all(rows)
        session.flush()
        session.add_all([Result(job_id=job.id, outcome=b"{}", raw=b"{}", **given) for job in rows])
    left = list[int]()
    engine.between("database").before["write"] = lambda: left.append(len(engine.rows(Result)))

    for _ in range(3):
        # On a slow machine one transaction may be all there is time for.
        forget.prune(engine.context)
        engine.clock.advance(60)

    is_sqlite = engine.context.database.is_sqlite
    assert sorted(set(left), reverse=True) == ([many, 1, 0] if is_sqlite else [many, 0])


def test_the_wait_for_the_lock_is_not_taken_for_rows_that_are_slow(engine: Engine) -> None:
    """Or beside others who write, ever fewer would be forgotten, down to one at a time."""
    old = engine.clock() - timedelta(days=100)
    another = threading.Event()
    for _ in range(5):
        with engine.context.database.write() as session:
            session.add_all(factories.job(engine.project_id, status="completed", finished_at=old) for _ in range(40))
        database, whole = engine.between("database"), engine.context
        database.before["write"] = lambda: another.wait(0.1)
        forget.prune(whole)
        engine.context = replace(whole, database=database.real)
        # A machine that stands still for a second leaves some; one that is taken for slow leaves some each time.
        if not engine.rows(Job):
            break
        engine.clock.advance(60)

    assert engine.rows(Job) == []


def test_what_a_run_gave_goes_when_its_own_retention_ends(engine: Engine, hooks: Hooks) -> None:
    """It may be shorter than the usual one, and what was delivered holds the same as the result."""
    told = {"webhook_url": hooks.url("/told"), "input": f"[[sim: text={CANARY}]]", "retention_days": 1}
    job_id = engine.started(**told)
    engine.change(job_id, thought=CANARY)
    settled(engine, job_id)
    engine.deliver()
    assert CANARY in str(hooks.got[-1].json["data"]["output_text"])
    held = engine.started(**told | {"webhook_url": hooks.url("/held")})
    hooks.answers["/held"] = [Say(500), Say(204)]
    settled(engine, held)
    engine.deliver()

    engine.clock.advance(2 * DAY_S)
    engine.sweep()
    engine.deliver()

    assert CANARY in str(hooks.got[-1].json["data"]["output_text"]), "what is still on its way is not taken away"
    assert CANARY not in str(engine.job(job_id))
    assert engine.rows(Result) == []
    payloads = [event.payload for event in engine.rows(Event) if event.job_id == job_id]
    assert [payload for payload in payloads if payload is not None] == []


def test_an_interaction_that_is_to_go_is_nobody_s_any_more(engine: Engine) -> None:
    job_id = engine.started()
    settled(engine, job_id)
    (name,) = upstream_ids(engine, [job_id])
    engine.between("gemini").instead["delete"] = lambda _: False
    remove.job(engine.context, engine.project_id, job_id)
    asked = Order(engine.project_id, (), "/v1/jobs/adopt")

    with pytest.raises(Invalid, match="no such interaction"):
        adopt.take_over(engine.context, adopt.Asked(order=asked, fields={"interaction_id": name}, is_admin=True))
    with pytest.raises(Invalid, match="no such interaction"):
        engine.submit(previous_interaction_id=name)


def test_what_a_create_made_that_was_answered_after_its_job_was_deleted_goes_too(engine: Engine) -> None:
    made = engine.context.gemini.create(build({"model": MODEL, "input": CANARY})).result(30)

    attempt.attach(engine.context, [Attempt("job_that_was_deleted", "its_token", made)])
    asked = Order(engine.project_id, (), "/v1/jobs/adopt")
    with pytest.raises(Invalid, match="no such interaction"):
        adopt.take_over(
            engine.context, adopt.Asked(order=asked, fields={"interaction_id": made.upstream_id}, is_admin=True)
        )
    for _ in range(3):
        engine.pass_time(150)
        engine.sweep()

    run = engine.runs()[made.upstream_id]
    assert (run["status"], run["deleted"]) == ("cancelled", True)
    assert engine.rows(Leftover) == []


def test_a_job_of_many_turns_is_deleted_at_once_though_the_upstream_is_away(engine: Engine) -> None:
    job_id = engine.started()
    settled(engine, job_id)
    with engine.context.database.write() as session:
        for turn in range(2, 30):
            row: dict[str, Any] = {"token": f"t{turn}", "upstream_id": f"v1_{turn}", "created_at": engine.clock()}
            session.add(Interaction(job_id=job_id, turn=turn, attempt=1, **row))
    gemini = engine.between("gemini")
    gemini.instead["delete"] = lambda _: False

    remove.job(engine.context, engine.project_id, job_id)

    assert (engine.count("delete"), gemini.calls.count("delete")) == (0, 1)
    assert len(engine.rows(Leftover)) == 29
