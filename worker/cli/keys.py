"""`nightdesk keys`: makes, lists and revokes API keys. A key is shown once and stored hashed."""

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from worker.errors import NotFound, SettingsError

if TYPE_CHECKING:
    from worker.models import ApiKey

DEFAULT_SCOPES = "jobs:read,jobs:write,webhooks:write"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Make, list and revoke API keys.", no_args_is_help=True)
    group.command("create")(create)
    group.command("list")(show)
    group.command("revoke")(revoke)
    app.add_typer(group, name="keys")


def create(
    name: Annotated[str, typer.Option(help="What the key is for.")],
    scopes: Annotated[str, typer.Option(help="What it may do, separated by commas.")] = DEFAULT_SCOPES,
    project: Annotated[str, typer.Option(help="Whose jobs it sees; made if there is none.")] = "default",
) -> None:
    """Make a key and print it, once."""
    from worker import context  # noqa: PLC0415
    from worker.cli import operator  # noqa: PLC0415
    from worker.keys import issue  # noqa: PLC0415
    from worker.store import projects  # noqa: PLC0415
    from worker.vault import Vault  # noqa: PLC0415
    from worker.webhooks import signing  # noqa: PLC0415

    chosen, settings, now = _scopes(scopes), operator.settings(), datetime.now(UTC)
    vault, issued = Vault(settings.encryption_key), issue()
    with operator.opened(settings) as database:
        context.found(settings, database, vault, now)
        with database.write() as session:
            owner = projects.by_name(session, project) or projects.create_project(
                session, project, sealed_secret=vault.seal(signing.new_secret()), now=now
            )
            key = projects.add_key(session, owner.id, name, issued, scopes=chosen, now=now)
    print(f"{key.id} for project {project} may {', '.join(chosen)}; the key is not shown again:", file=sys.stderr)
    print(issued.token)


def show() -> None:
    """List the keys; a key itself is not stored."""
    from worker.cli import operator  # noqa: PLC0415
    from worker.store import projects  # noqa: PLC0415

    now = datetime.now(UTC)
    with operator.opened(operator.settings()) as database, database.read() as session:
        for key, project in projects.keys(session):
            print(f"{key.id}  {key.hint}  {project}  {key.name}  {','.join(key.scopes)}  {_state(key, now)}")


def revoke(key_id: Annotated[str, typer.Argument(metavar="ID", help="As `nightdesk keys list` shows it.")]) -> None:
    """End a key at once."""
    from worker.cli import operator  # noqa: PLC0415
    from worker.store import projects  # noqa: PLC0415

    with operator.opened(operator.settings()) as database, database.write() as session:
        if not projects.revoke(session, key_id, datetime.now(UTC)):
            raise NotFound(f"there is no live key {key_id}")
    print(f"{key_id}: revoked")


def _scopes(text: str) -> list[str]:
    from worker.keys import SCOPES  # noqa: PLC0415

    chosen = [scope.strip() for scope in text.split(",") if scope.strip()]
    if unknown := [scope for scope in chosen if scope not in SCOPES]:
        raise SettingsError(f"no such scope: {', '.join(unknown)}; there are {', '.join(SCOPES)}")
    if not chosen:
        raise SettingsError(f"a key needs a scope: {', '.join(SCOPES)}")
    return chosen


def _state(key: "ApiKey", now: datetime) -> str:
    if key.revoked_at:
        return f"revoked {key.revoked_at:%Y-%m-%d}"
    if key.expires_at and key.expires_at <= now:
        return f"expired {key.expires_at:%Y-%m-%d}"
    return f"last used {key.last_used_at:%Y-%m-%d %H:%M} UTC" if key.last_used_at else "never used"
