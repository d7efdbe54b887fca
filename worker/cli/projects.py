"""`nightdesk projects`: makes and lists projects, and says what each may have."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from worker.errors import NotFound, SettingsError

if TYPE_CHECKING:
    from worker.models import Project

USUAL = "default"
"""Written for a limit: the one that the settings give every project."""

COLUMNS = {
    "queued": "max_queued",
    "in-flight": "max_in_flight",
    "jobs-per-day": "max_jobs_per_day",
    "tokens-per-day": "max_tokens_per_day",
}
Name = Annotated[str, typer.Argument(help="The project's name.")]
Number = Annotated[str | None, typer.Option(metavar="N", help="A number, or `default`: as for every project.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Make and list projects, and limit them.", no_args_is_help=True)
    group.command("create")(create)
    group.command("list")(show)
    group.command("limits")(limit)
    app.add_typer(group, name="projects")


def create(name: Name) -> None:
    """Make a project; it has no key yet."""
    from worker import context  # noqa: PLC0415
    from worker.cli import operator  # noqa: PLC0415
    from worker.store import audit, projects  # noqa: PLC0415
    from worker.vault import Vault  # noqa: PLC0415
    from worker.webhooks import signing  # noqa: PLC0415

    settings, now = operator.settings(), datetime.now(UTC)
    vault = Vault(settings.encryption_key)
    with operator.opened(settings) as database:
        context.found(settings, database, vault, now)
        with database.write() as session:
            if projects.by_name(session, name):
                raise SettingsError(f"there is a project {name} already")
            made = projects.create_project(session, name, sealed_secret=vault.seal(signing.new_secret()), now=now)
            by = operator.actor()
            audit.note(session, by, audit.PROJECT_CREATED, project_id=made.id, subject=made.id, now=now)
    print(f"{made.id}: {name}")


def show() -> None:
    """List the projects with their own limits."""
    from worker.cli import operator  # noqa: PLC0415
    from worker.store import projects  # noqa: PLC0415

    with operator.opened(operator.settings()) as database, database.read() as session:
        for project in projects.all_projects(session):
            print(f"{project.id}  {project.name}  {_limits(project)}")


def limit(
    name: Name,
    queued: Number = None,
    in_flight: Number = None,
    jobs_per_day: Number = None,
    tokens_per_day: Number = None,
) -> None:
    """Show what a project may have, or change what is named: it holds within a second, for what comes from then on."""
    from worker.cli import operator  # noqa: PLC0415
    from worker.store import audit, projects  # noqa: PLC0415

    given = dict(zip(COLUMNS, (queued, in_flight, jobs_per_day, tokens_per_day), strict=True))
    values = {COLUMNS[option]: _number(option, text) for option, text in given.items() if text is not None}
    with operator.opened(operator.settings()) as database, database.write() as session:
        project = projects.by_name(session, name)
        if project is None:
            raise NotFound(f"there is no project {name}")
        if values:
            projects.limit(session, project.id, values)
            now, by = datetime.now(UTC), operator.actor()
            audit.note(session, by, audit.PROJECT_LIMITED, project_id=project.id, subject=project.id, now=now)
        shown = projects.get(session, project.id)
    assert shown is not None, "projects are never removed"
    print(f"{name}: {_limits(shown)}")


def _number(option: str, text: str) -> int | None:
    if text == USUAL:
        return None
    if not text.isdecimal() or len(text) > 18:
        raise SettingsError(f"--{option} must be a whole number or {USUAL}")
    return int(text)


def _limits(project: "Project") -> str:
    own = [
        f"{option} {getattr(project, column):,}"
        for option, column in COLUMNS.items()
        if getattr(project, column) is not None
    ]
    return ", ".join(own) or "the usual limits"
