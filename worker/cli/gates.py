"""`nightdesk gates`: shows, closes and opens the gates between the waiting jobs and the upstream."""

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from worker.models import Gate

EVERYTHING = "all"
Target = Annotated[str, typer.Argument(help="A model, an agent, or `all`.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Show, close and open gates: what may be started.")
    group.callback(invoke_without_command=True)(show)
    group.command("pause")(pause)
    group.command("resume")(resume)
    app.add_typer(group, name="gates")


def show(context: typer.Context) -> None:
    """Show the gates that are shut; every other one is open."""
    if context.invoked_subcommand:
        return
    from worker.cli import operator  # noqa: PLC0415
    from worker.store import gates  # noqa: PLC0415

    now = datetime.now(UTC)
    with operator.opened(operator.settings()) as database, database.read() as session:
        shut = [gate for gate in gates.all_gates(session) if gate.paused or gate.reason]
    for gate in shut:
        print(f"{_named(gate.target):<40} {_state(gate, now)}")
    if not shut:
        print("every gate is open")


def pause(target: Target) -> None:
    """Start no more jobs for a target; those accepted wait."""
    from worker import context, retired  # noqa: PLC0415
    from worker.cli import operator  # noqa: PLC0415
    from worker.store import audit, gates  # noqa: PLC0415

    settings = operator.settings()
    with operator.opened(settings) as database, database.write() as session:
        gates.pause(session, _key(target), paused=True)
        audit.note_for_all(session, operator.actor(), audit.GATE_PAUSED, subject=target, now=datetime.now(UTC))
    print(f"{target}: paused")
    doubt = None if target == EVERYTHING else retired.doubt(context.catalog(settings), target)
    if doubt is not None:
        print(f"warning: {doubt}", file=sys.stderr)


def resume(target: Target) -> None:
    """Start jobs for a target again, also where the upstream had closed the gate."""
    from worker.cli import operator  # noqa: PLC0415
    from worker.store import audit, gates  # noqa: PLC0415

    now = datetime.now(UTC)
    with operator.opened(operator.settings()) as database, database.write() as session:
        gates.pause(session, _key(target), paused=False)
        gates.open_(session, [_key(target)], before=now)
        audit.note_for_all(session, operator.actor(), audit.GATE_RESUMED, subject=target, now=now)
    print(f"{target}: open")


def _key(target: str) -> str:
    from worker.store import gates  # noqa: PLC0415

    return gates.KEY if target == EVERYTHING else target


def _named(target: str) -> str:
    from worker.store import gates  # noqa: PLC0415

    return EVERYTHING if target == gates.KEY else target


def _state(gate: "Gate", now: datetime) -> str:
    if gate.paused:
        return "paused by an operator"
    until = gate.closed_until
    waits = f"next try {until:%Y-%m-%d %H:%M:%S} UTC" if until and until > now else "next try now"
    return f"closed: {gate.reason}; {waits}"
