"""Commands that are a client of the HTTP API: submit, jobs, show, watch, cancel, usage.

Results go to stdout, everything else to stderr. The engine is never imported: these run on any machine.
"""

import os
from collections.abc import Sequence
from typing import Annotated, Any, Literal
from urllib.parse import quote
from uuid import uuid4

import typer
from rich.console import Console

from worker.cli import progress, screen, sheet, submission, text
from worker.cli.connection import Connection, Unreachable, access
from worker.cli.glimpse import Glimpse

JOBS, USAGE = "/v1/jobs", "/v1/usage"
PAGE = 100
SUBMIT_AGAIN_S = (0.5, 1.0, 2.0)
FAILED, INTERRUPTED = 1, 130

JobId = Annotated[str, typer.Argument(metavar="ID", help="A job's id.")]
Prompt = Annotated[str | None, typer.Argument(help="What to ask.")]
Model = Annotated[str | None, typer.Option(help=f"The model.  [default: {submission.MODEL}]")]
Agent = Annotated[str | None, typer.Option(help="The agent, instead of a model.")]
File = Annotated[str | None, typer.Option(help="A body as the API takes it, in JSON; `-` is stdin.")]
Webhook = Annotated[str | None, typer.Option(help="Who is told when it ends.")]
Priority = Annotated[Literal["low", "normal", "high"] | None, typer.Option(help="Its place among the waiting.")]
Metadata = Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="A note on the job; repeatable.")]
RunAt = Annotated[str | None, typer.Option(metavar="TIME", help="Not before, like 2026-12-24T18:00.")]
Previous = Annotated[str | None, typer.Option(metavar="JOB", help="The job whose conversation it goes on with.")]
Timeout = Annotated[float | None, typer.Option(metavar="S", help="Seconds that a run may take.")]
Key = Annotated[str | None, typer.Option(metavar="KEY", help="The same key submits once.  [default: a new one]")]
Wait = Annotated[bool, typer.Option("--wait", help="Watch it and print its report at the end.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON as the API gives it.")]
Status = Annotated[list[str] | None, typer.Option(help="Only these; repeatable.")]
By = Annotated[Literal["day", "target", "key", "job", "conversation"], typer.Option(help="What to sum up by.")]
Since = Annotated[str | None, typer.Option("--from", metavar="TIME", help="From then on.  [default: 30 days ago]")]
Until = Annotated[str | None, typer.Option("--to", metavar="TIME", help="Before then.  [default: now]")]
Limit = Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")]
Report = Annotated[bool, typer.Option("--report", help="Print its report alone, in Markdown.")]
Steps = Annotated[bool, typer.Option("--steps", help="Print the steps of its interaction too.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (submit, jobs, show, watch, cancel, usage):
        app.command()(command)


def submit(
    prompt: Prompt = None,
    *,
    model: Model = None,
    agent: Agent = None,
    file: File = None,
    webhook_url: Webhook = None,
    priority: Priority = None,
    metadata: Metadata = None,
    run_at: RunAt = None,
    previous: Previous = None,
    timeout: Timeout = None,
    idempotency_key: Key = None,
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """Submit a job and print its id; with --wait its report."""
    chosen = {
        "input": prompt,
        "model": model,
        "agent": agent,
        "webhook_url": webhook_url,
        "priority": priority,
        "metadata": submission.pairs(metadata or ()),
        "run_at": submission.moment(run_at),
        "previous_job_id": previous,
        "timeout_seconds": timeout,
    }
    body = submission.body(file, chosen)
    with _connected() as connection:
        job = _submitted(connection, body, idempotency_key or uuid4().hex)
        if wait:
            _await(connection, job, as_json=as_json)
        elif as_json:
            screen.as_json(job)
        else:
            print(job["id"])


def jobs(status: Status = None, limit: Limit = 20, as_json: AsJson = False) -> None:  # noqa: FBT002  (a flag)
    """List the newest jobs."""
    with _connected() as connection:
        found = _listed(connection, JOBS, {"status": status or []}, limit)
    if as_json:
        screen.as_json(found)
    else:
        now = text.now()
        screen.table(sheet.COLUMNS, [sheet.row(job, now) for job in found])


def show(job_id: JobId, *, as_json: AsJson = False, report: Report = False, steps: Steps = False) -> None:
    """Show all there is to know about a job."""
    with _connected() as connection:
        if report:
            screen.report(_report(connection, job_id))
            return
        job = connection.json("GET", _path(job_id), params={"include": "steps"} if steps else {})
        if as_json:
            screen.as_json(job)
            return
        deliveries = connection.json("GET", _path(job_id, "/deliveries"))["data"]
        detailed = [connection.json("GET", f"/v1/deliveries/{delivery['id']}") for delivery in deliveries]
    screen.lines(screen.out(), [*sheet.sheet(job, detailed), *sheet.steps(job.get("steps") or ())])


def watch(job_id: JobId) -> None:
    """Watch a job until it ends or needs an action."""
    with _connected() as connection:
        job = _followed(connection, connection.json("GET", _path(job_id)), screen.out())
    screen.lines(screen.out(), [sheet.ending(job), *sheet.needed(job), *sheet.trouble(job)])
    if job["status"] != "completed":
        raise typer.Exit(FAILED)


def cancel(job_id: JobId) -> None:
    """Cancel a job; if it ends before, its result stands."""
    with _connected() as connection:
        job = connection.json("POST", _path(job_id, "/cancel"))
    screen.lines(screen.out(), [sheet.ending(job)])


def usage(
    by: By = "day", *, since: Since = None, until: Until = None, limit: Limit = 100, as_json: AsJson = False
) -> None:
    """Sum up the tokens that the project has used."""
    times = {"from": submission.moment(since, "--from"), "to": submission.moment(until, "--to")}
    asked = {"group_by": by, **{name: time for name, time in times.items() if time}}
    with _connected() as connection:
        found = _listed(connection, USAGE, asked, limit)
    if as_json:
        screen.as_json(found)
    else:
        screen.table(sheet.USED, [sheet.used(one) for one in found])


def _connected() -> Connection:
    return Connection(access(os.environ))


def _path(job_id: str, part: str = "") -> str:
    return f"{JOBS}/{quote(job_id, safe='')}{part}"


def _submitted(connection: Connection, body: dict[str, Any], key: str) -> dict[str, Any]:
    """The accepted job: one, however often the request has to be made."""
    doubt = f"The job may have been accepted all the same: the same command with --idempotency-key {key} finds out."
    try:
        return connection.json("POST", JOBS, json=body, headers={"Idempotency-Key": key}, again_s=SUBMIT_AGAIN_S)
    except Unreachable as failure:
        if failure.is_in_doubt:
            screen.err().print(doubt)
        raise
    except KeyboardInterrupt:
        screen.err().print(doubt)
        raise typer.Exit(INTERRUPTED) from None


def _await(connection: Connection, job: dict[str, Any], *, as_json: bool) -> None:
    err = screen.err()
    err.print(job["id"])
    job = _followed(connection, job, err)
    is_completed = job["status"] == "completed"
    if as_json:
        screen.as_json(job)
    elif is_completed:
        screen.report(_report(connection, job["id"], again_s=progress.AGAIN_S))
    screen.lines(err, [sheet.ending(job), *sheet.needed(job), *sheet.trouble(job)])
    if not is_completed:
        raise typer.Exit(FAILED)


def _followed(connection: Connection, job: dict[str, Any], console: Console) -> dict[str, Any]:
    try:
        with progress.telling(console, Glimpse(connection, quote(job["id"], safe=""))) as tell:
            tell(job)
            return progress.follow(connection, job, tell)
    except KeyboardInterrupt:
        job_id = job["id"]
        screen.err().print(
            f"The job goes on. To watch it: nightdesk watch {job_id}; to end it: nightdesk cancel {job_id}"
        )
        raise typer.Exit(INTERRUPTED) from None


def _report(connection: Connection, job_id: str, again_s: Sequence[float] = ()) -> str:
    wanted = {"Accept": "text/markdown"}
    return connection.request("GET", _path(job_id, "/report"), headers=wanted, again_s=again_s).text


def _listed(connection: Connection, path: str, asked: dict[str, Any], limit: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while len(found) < limit:
        part = {"limit": min(PAGE, limit - len(found)), **({"cursor": cursor} if cursor else {})}
        page = connection.json("GET", path, params=asked | part)
        found += page["data"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    return found
