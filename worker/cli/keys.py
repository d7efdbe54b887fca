"""`nightdesk keys`: makes, lists, replaces and revokes API keys. A key is shown once and stored hashed."""

import re
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from worker.errors import NotFound, SettingsError

if TYPE_CHECKING:
    from worker.models import ApiKey

KeyId = Annotated[str, typer.Argument(metavar="ID", help="As `nightdesk keys list` shows it.")]
DEFAULT_SCOPES = "jobs:read,jobs:write,webhooks:write"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Make, list, replace and revoke API keys.", no_args_is_help=True)
    group.command("create")(create)
    group.command("list")(show)
    group.command("rotate")(rotate)
    group.command("revoke")(revoke)
    app.add_typer(group, name="keys")


def create(
    name: Annotated[str, typer.Option(help="What the key is for.")],
    scopes: Annotated[str, typer.Option(help="What it may do, separated by commas.")] = DEFAULT_SCOPES,
    project: Annotated[str, typer.Option(help="Whose jobs it sees; made if there is none.")] = "default",
    expires: Annotated[
        str | None, typer.Option(help="When it ends: a date (2027-01-31, at 0:00 UTC) or a time from now (90d, 12h).")
    ] = None,
) -> None:
    """Make a key and print it, once."""
    from worker import context  # noqa: PLC0415
    from worker.cli import operator  # noqa: PLC0415
    from worker.keys import issue  # noqa: PLC0415
    from worker.store import audit, projects  # noqa: PLC0415
    from worker.vault import Vault  # noqa: PLC0415
    from worker.webhooks import signing  # noqa: PLC0415

    chosen, settings, now = _scopes(scopes), operator.settings(), datetime.now(UTC)
    ends_at = None if expires is None else _end(expires, now)
    vault, issued = Vault(settings.encryption_key), issue()
    with operator.opened(settings) as database:
        context.found(settings, database, vault, now)
        with database.write() as session:
            by, owner = operator.actor(), projects.by_name(session, project)
            if owner is None:
                sealed = vault.seal(signing.new_secret())
                owner = projects.create_project(session, project, sealed_secret=sealed, now=now)
                audit.note(session, by, audit.PROJECT_CREATED, project_id=owner.id, subject=owner.id, now=now)
            key = projects.add_key(session, owner.id, name, issued, scopes=chosen, now=now, expires_at=ends_at)
            audit.note(session, by, audit.KEY_CREATED, project_id=owner.id, subject=key.id, now=now)
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


def rotate(
    key_id: KeyId,
    overlap: Annotated[str, typer.Option(help="How long the old key goes on: 24h, 7d, or 0h.")] = "24h",
) -> None:
    """Make another key that may do the same, print it, once, and let the old one end."""
    from worker.cli import operator  # noqa: PLC0415
    from worker.keys import issue  # noqa: PLC0415
    from worker.store import audit, projects  # noqa: PLC0415

    now, issued = datetime.now(UTC), issue()
    ends_at = now + _lasting(overlap)
    with operator.opened(operator.settings()) as database, database.write() as session:
        old = projects.live_key(session, key_id, now)
        if old is None:
            raise NotFound(f"there is no live key {key_id}")
        # The new one lasts as long as the old one was made to.
        lasts = None if old.expires_at is None else now + (old.expires_at - old.created_at)
        key = projects.add_key(session, old.project_id, old.name, issued, scopes=old.scopes, now=now, expires_at=lasts)
        projects.expire(session, old, ends_at)
        audit.note(session, operator.actor(), audit.KEY_ROTATED, project_id=old.project_id, subject=key_id, now=now)
        audit.note(session, operator.actor(), audit.KEY_CREATED, project_id=old.project_id, subject=key.id, now=now)
    until = f"{old.expires_at:%Y-%m-%d %H:%M} UTC"
    print(f"{key.id} takes the place of {key_id}, which ends at {until}; the key is not shown again:", file=sys.stderr)
    print(issued.token)


def revoke(key_id: KeyId) -> None:
    """End a key at once."""
    from worker.cli import operator  # noqa: PLC0415
    from worker.store import audit, projects  # noqa: PLC0415

    now = datetime.now(UTC)
    with operator.opened(operator.settings()) as database, database.write() as session:
        project_id = projects.revoke(session, key_id, now)
        if project_id is None:
            raise NotFound(f"there is no live key {key_id}")
        audit.note(session, operator.actor(), audit.KEY_REVOKED, project_id=project_id, subject=key_id, now=now)
    print(f"{key_id}: revoked")


def _end(text: str, now: datetime) -> datetime:
    """When a key made now ends; raises SettingsError."""
    try:
        ends_at = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        ends_at = now + _lasting(text)
    if ends_at <= now:
        raise SettingsError(f"{text} is past: a key must end later than now")
    return ends_at


def _lasting(text: str) -> timedelta:
    found = re.fullmatch(r"([0-9]{1,5})([dh])", text, re.ASCII)
    if found is None:
        raise SettingsError(f"{text!r} is no time: write 90d, 12h, or for an end a date as 2027-01-31")
    return timedelta(days=int(found[1])) if found[2] == "d" else timedelta(hours=int(found[1]))


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
    used = f"last used {key.last_used_at:%Y-%m-%d %H:%M} UTC" if key.last_used_at else "never used"
    return used + (f", ends {key.expires_at:%Y-%m-%d %H:%M} UTC" if key.expires_at else "")
