"""Commands that run a part of the service, or all of it, until they are told to stop."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")]

THREADS = 32


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(up)
    app.command(add_help_option=False, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(api)
    for command in (worker, flower, simulator, migrate):
        app.command()(command)


def up(
    *,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    flower_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of Flower.")] = 5555,
    data_dir: Annotated[
        Path | None, typer.Option(file_okay=False, help="Where everything is kept.  [default: .nightdesk]")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="How many worker processes.")] = 1,
    simulator: Annotated[bool, typer.Option("--simulator", help="Simulate Gemini even if a key is set.")] = False,
) -> None:
    """Run everything here; without a Gemini key, simulated."""
    from worker.dev import stack  # noqa: PLC0415
    from worker.dev.surroundings import Options  # noqa: PLC0415

    options = Options(
        host=host, port=port, flower_port=flower_port, data_dir=data_dir, workers=workers, simulator=simulator
    )
    if not stack.up(options, say=lambda line: print(line, file=sys.stderr, flush=True)):
        raise typer.Exit(1)


def api(context: typer.Context) -> None:
    """Run the HTTP API; see `nightdesk api --help`."""
    # The API is a process of its own, known by name only: nothing here imports it.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "api", *context.args])  # noqa: S606


def worker(
    queues: Annotated[str, typer.Option(help="Queues to take from, separated by commas.  [default: all]")] = "",
    concurrency: Annotated[int, typer.Option(min=1, max=1024, help="Threads.")] = THREADS,
) -> None:
    """Run a worker."""
    from worker.process import run_worker  # noqa: PLC0415
    from worker.settings import load  # noqa: PLC0415

    chosen = [queue.strip() for queue in queues.split(",") if queue.strip()]
    run_worker(load(), chosen, concurrency)


def flower(host: Host = "127.0.0.1", port: Port = 5555) -> None:
    """Run Flower, the view of queues, tasks and workers."""
    from worker.process import run_flower  # noqa: PLC0415
    from worker.settings import load  # noqa: PLC0415

    run_flower(load(), host, port)


def simulator(
    host: Host = "127.0.0.1",
    port: Port = 8002,
    state: Annotated[Path | None, typer.Option(help="Journal that keeps its runs over a restart.")] = None,
    speed: Annotated[float, typer.Option(min=0.01, help="How many times faster than usual runs end.")] = 1.0,
) -> None:
    """Run the Gemini simulator, for development without a key."""
    from worker.dev.simulator import Options, run  # noqa: PLC0415

    options = Options(host=host, port=port, state_path=state, speed=speed)
    run(options, ready=lambda url: print(f"simulator: {url}", flush=True))


def migrate() -> None:
    """Bring the database to this release."""
    from worker.database import Database, upgrade  # noqa: PLC0415
    from worker.settings import load  # noqa: PLC0415

    database = Database(load().database, connections=1)
    try:
        upgrade(database)
    finally:
        database.close()
    print("the database is at this release")
