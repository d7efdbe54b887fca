"""Endpoints of a project, and what waits for them."""

from typing import Any

import sqlalchemy as sa
from sqlmodel import col

from tests.integration.engine.engine import Engine
from tests.integration.engine.hooks import Hooks, Say
from worker.flow import endpoints, health
from worker.flow.endpoints import Shown
from worker.models import Delivery, WebhookEndpoint

DOWN, UP = [Say(500)], [Say(204)]


def register(engine: Engine, url: str, *events: str, **fields: Any) -> Shown:
    wanted = {"events": list(events)} if events else {}
    return endpoints.create(engine.context, engine.project_id, {"url": url, **wanted, **fields})


def change(engine: Engine, made: Shown, **fields: Any) -> WebhookEndpoint:
    return endpoints.change(engine.context, engine.project_id, made.endpoint.id, fields)


def row(engine: Engine, made: Shown) -> WebhookEndpoint:
    found = engine.read(lambda session: session.get(WebhookEndpoint, made.endpoint.id))
    assert isinstance(found, WebhookEndpoint)
    return found


def to(engine: Engine, made: Shown) -> list[Delivery]:
    found = [one for one in engine.rows(Delivery) if one.endpoint_id == made.endpoint.id]
    return sorted(found, key=lambda one: one.id)


def statuses(engine: Engine, made: Shown) -> list[str]:
    return [one.status for one in to(engine, made)]


def age(engine: Engine, made: Shown, **values: Any) -> None:
    with engine.context.database.write() as session:
        session.execute(sa.update(WebhookEndpoint).where(col(WebhookEndpoint.id) == made.endpoint.id).values(**values))


def submitted(engine: Engine, number: int) -> None:
    """Jobs that are created, and nothing more."""
    engine.accept(*(engine.draft() for _ in range(number)))


def rounds(engine: Engine, number: int, after_s: float = 6) -> None:
    """Sweep and deliver, so often, with pauses between."""
    for _ in range(number):
        engine.sweep(after_s)
        engine.deliver()


def paused(engine: Engine, hooks: Hooks, *, number: int = 30) -> Shown:
    """An endpoint that is down, and as many events that wait for it."""
    made = register(engine, hooks.url("/in"), "job.created")
    hooks.answers["/in"] = DOWN
    submitted(engine, number)
    engine.deliver()
    assert health.is_paused(row(engine, made))
    return made


def disabled(engine: Engine, hooks: Hooks, number: int = 3) -> Shown:
    """An endpoint that its owner disabled, and what happened since then."""
    made = register(engine, hooks.url("/in"), "job.created")
    change(engine, made, enabled=False)
    submitted(engine, number)
    engine.deliver()
    return made
