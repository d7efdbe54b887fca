"""The engine without Celery: each verb is called as its task would, on a clock that the test moves."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, cast

import sqlalchemy as sa
from sqlmodel import Session, col

from worker import context as contexts
from worker.context import Context
from worker.dev.simulator import Control
from worker.flow import cancel, claim, deliver, poll, start, submit, sweep
from worker.flow.draft import Draft, prepare
from worker.models import Delivery, DeliveryAttempt, Event, Gate, Interaction, Job, Result
from worker.store import gates, jobs
from worker.store.events import of_job

AGENT = "deep-research-preview-04-2026"
MODEL = "gemini-3.8-flash"


class Killed(BaseException):
    """The process died here: nothing after this point was done."""


@dataclass
class Clock:
    """A clock that moves only when told to, or when somebody pauses."""

    now: datetime = field(default_factory=contexts.utc_now)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Between:
    """Stands before a real part of the context: notes its calls, and lets a test act before, after or instead."""

    def __init__(self, real: Any) -> None:
        self.real = real
        self.calls: list[str] = []
        self.before: dict[str, Callable[..., object]] = {}
        self.instead: dict[str, Callable[..., object]] = {}
        self.after: dict[str, Callable[..., object]] = {}

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.real, name)
        if not callable(method):
            return method

        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append(name)
            if name in self.before:
                self.before[name](*args)
            result = self.instead.get(name, method)(*args, **kwargs)
            if name in self.after:
                self.after[name](result.result(30) if isinstance(result, Future) else result)
            return result

        return call


@dataclass
class Engine:
    """One installation: its context, its clock, its upstream, and the verbs."""

    context: Context
    clock: Clock
    control: Control
    project_id: str

    # What a test arranges.

    def set(self, **values: Any) -> None:
        """Settings that shall differ."""
        self.context = replace(self.context, settings=self.context.settings.model_copy(update=values))

    def between(self, part: str) -> Between:
        """Stand before a part of the context."""
        stand: Any = Between(getattr(self.context, part))
        chosen: dict[str, Any] = {part: stand}
        self.context = replace(self.context, **chosen)
        return cast("Between", stand)

    def pass_time(self, seconds: float) -> None:
        """Move both clocks."""
        self.clock.advance(seconds)
        self.control.advance(seconds)

    def finish(self, job_id: str, **changes: Any) -> None:
        """Let a job's run end now."""
        self.control.direct(self.job(job_id).interaction_id or "", finish=True, **changes)

    def change(self, job_id: str, **values: Any) -> None:
        """Set columns of a job's row, as if by time or by another process."""
        with self.context.database.write() as session:
            session.execute(sa.update(Job).where(col(Job.id) == job_id).values(**values))

    # What a client does.

    def draft(self, **fields: Any) -> Draft:
        given = {"model": MODEL, "input": "Say hello."} | fields
        if "agent" in given:
            given.pop("model")
        return prepare(self.context, given, project_id=self.project_id, is_admin=True)

    def accept(self, *drafts: Draft, key: str | None = None, digest: str = "digest") -> submit.Accepted:
        """Accept one order; raises what was wrong with it."""
        order = submit.Order(self.project_id, drafts, "/v1/jobs", key, digest)
        outcome = submit.accept(self.context, [order])[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def submit(self, **fields: Any) -> str:
        """Accept one job; gives back its id."""
        return self.accept(self.draft(**fields)).jobs[0].id

    def cancel(self, job_id: str) -> Job:
        return cancel.request(self.context, self.project_id, job_id)

    # What the tasks and the ticker do.

    def start(self, job_id: str) -> str:
        """This job alone, as a round of starts does it."""
        sent = [(one, start.talk(self.context, one)) for one in claim.ready(self.context, [job_id])]
        answered = [(one, start.outcome(future)) for one, future in sent]
        return start.record(self.context, answered).get(job_id, "nothing")

    def started(self, **fields: Any) -> str:
        """A job that runs upstream."""
        job_id = self.submit(**fields)
        assert self.start(job_id) == "started"
        return job_id

    def poll(self, after_s: float = 10) -> dict[str, int]:
        """Poll when everything that runs is due again."""
        self.pass_time(after_s)
        return poll.run(self.context)

    def tell_upstream(self, job_id: str) -> str:
        return cancel.run(self.context, job_id)

    def deliver(self) -> dict[str, int]:
        """With time to wait for a host's turn, also while the machine stands still: nothing is put back for that."""
        unhurried = self.context.settings.model_copy(update={"talk_deliver_s": 0.1})
        return deliver.run(replace(self.context, settings=unhurried))

    def sweep(self, after_s: float = 1) -> None:
        """One tick, some time after the last."""
        self.pass_time(after_s)
        assert sweep.tick(self.context)

    # What there is to see.

    def read(self, work: Callable[[Session], Any]) -> Any:
        with self.context.database.read() as session:
            return work(session)

    def job(self, job_id: str) -> Job:
        """The row as it is now."""
        job = self.read(lambda session: jobs.get(session, job_id))
        assert isinstance(job, Job)
        return job

    def status(self, job_id: str) -> str:
        return str(self.job(job_id).status)

    def error(self, job_id: str) -> str:
        """The code of the job's error."""
        error = self.job(job_id).error
        assert error is not None
        return str(error["code"])

    def events(self, job_id: str) -> list[str]:
        """The types of a job's events, in order."""
        return [event.type for event in self.event_rows(job_id)]

    def event_rows(self, job_id: str) -> list[Event]:
        rows = self.read(lambda session: of_job(session, job_id, after=0, limit=1000))
        return list(rows)

    def rows(self, table: type[Any], job_id: str | None = None) -> list[Any]:
        """Rows of a table, those of a job if one is named."""
        statement = sa.select(table) if job_id is None else sa.select(table).where(table.job_id == job_id)
        return list(self.read(lambda session: list(session.scalars(statement))))

    def interactions(self, job_id: str) -> list[Interaction]:
        return sorted(self.rows(Interaction, job_id), key=lambda one: (one.turn, one.attempt))

    def results(self, job_id: str) -> list[Result]:
        return sorted(self.rows(Result, job_id), key=lambda result: result.turn)

    def deliveries(self, job_id: str) -> list[Delivery]:
        return self.rows(Delivery, job_id)

    def attempts(self) -> list[DeliveryAttempt]:
        return sorted(self.rows(DeliveryAttempt), key=lambda attempt: attempt.number)

    def gate(self, target: str) -> Gate | None:
        found: list[Gate] = self.read(lambda session: gates.get(session, [target]))
        return found[0] if found else None

    def upstream_status(self, job_id: str) -> str:
        """What the upstream says of the job's interaction."""
        return str(self.runs()[self.job(job_id).interaction_id or ""]["status"])

    def runs(self) -> dict[str, dict[str, Any]]:
        """Everything that was made upstream, by id, oldest first."""
        return {run["id"]: run for run in self.control.interactions()}

    def count(self, call: str) -> int:
        """How many requests of one kind the upstream has seen."""
        return sum(self.control.stats()["calls"].get(call, {}).values())
