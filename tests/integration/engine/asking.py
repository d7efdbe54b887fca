"""Jobs that call functions, and their owner's answers."""

from typing import Any

from tests.integration.engine.engine import Engine
from worker.flow import respond
from worker.flow.submit import Accepted, Order
from worker.models import Job

TOOLS = [{"type": "function", "name": "look", "parameters": {"type": "object"}}]
ONCE_MORE = "[[sim: calls=1]]"
"""A result that makes the model call again."""


def asking(engine: Engine, calls: int = 1, **fields: Any) -> str:
    """A job that waits for results of so many calls."""
    job_id = engine.started(tools=TOOLS, input=f"[[sim: calls={calls}]]", **fields)
    settled(engine, job_id)
    assert engine.status(job_id) == "requires_action"
    return job_id


def settled(engine: Engine, job_id: str, **changes: Any) -> Job:
    """Let the job's run end as it would, or otherwise."""
    engine.finish(job_id, **changes)
    engine.poll()
    return engine.job(job_id)


def call_ids(engine: Engine, job_id: str) -> list[str]:
    """The ids of the job's open calls."""
    return [call["id"] for call in (engine.job(job_id).required_action or {})["function_calls"]]


def results(engine: Engine, job_id: str, result: Any = "It is dry.", **fields: Any) -> list[dict[str, Any]]:
    """The same result for each open call."""
    return [
        {"type": "function_result", "call_id": name, "result": result, **fields} for name in call_ids(engine, job_id)
    ]


def asked(engine: Engine, job_id: str, given: Any, *, key: str | None = None, **fields: Any) -> respond.Asked:
    """The request that answers with `given`."""
    path = f"/v1/jobs/{job_id}/respond"
    order = Order(fields.pop("project_id", engine.project_id), (), path, key, fields.pop("digest", "digest"))
    is_whole = fields.pop("is_whole", False)
    return respond.Asked(order=order, job_id=job_id, fields={"input": given, **fields}, is_whole=is_whole)


def answer(engine: Engine, job_id: str, given: Any = None, **fields: Any) -> Accepted:
    """Answer the job's calls; all of them, unless told what with."""
    given = results(engine, job_id) if given is None else given
    return respond.respond(engine.context, asked(engine, job_id, given, **fields))


def request(engine: Engine, job_id: str) -> dict[str, Any]:
    """What the upstream was asked with for the job's present interaction."""
    return engine.control.request(engine.job(job_id).interaction_id or "")
