"""The settings and the database of a command that an operator runs, beside processes that run already."""

import getpass
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import SecretStr

from worker.database import Database, pending
from worker.dev import keyring
from worker.errors import SettingsError
from worker.settings import PREFIX, Settings, load
from worker.store.audit import Actor
from worker.vault import Vault


def settings() -> Settings:
    """The settings, completed by what `nightdesk up` generated and runs where they name no database of their own."""
    found = load()
    if found.database_url.get_secret_value():
        return found
    known = keyring.kept(found.data_dir) | keyring.running(found.data_dir)
    missing: dict[str, object] = {}
    for field in ("encryption_key", "redis_url", "gemini_api_key"):
        value, default = known.get(f"{PREFIX}{field.upper()}"), getattr(found, field)
        if value and not (default and default.get_secret_value()):
            missing[field] = SecretStr(value)
    if "gemini_api_key" in missing and not found.gemini_base_url:
        missing["gemini_base_url"] = known.get("NIGHTDESK_GEMINI_BASE_URL")
    return found.model_copy(update=missing)


def actor() -> Actor:
    """Whoever runs the command, for the audit log: the user's name and the machine's."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):
        # A container may run under a number that has no name.
        name = str(os.getuid())
    return Actor(f"cli:{name}", socket.gethostname())


@contextmanager
def opened(chosen: Settings, sealer: Vault | None = None) -> Iterator[Database]:
    """The database; raises SettingsError, and creates nothing, where there is none or it is older than this release."""
    if missing := absent(chosen):
        raise SettingsError(missing)
    database = Database(chosen.database, connections=1, sealer=sealer)
    try:
        if pending(database):
            raise SettingsError("the database is older than this release: run `nightdesk migrate` first")
        yield database
    finally:
        database.close()


def absent(chosen: Settings) -> str:
    """Why there is no database to open, if so; opening SQLite would create one."""
    path = chosen.database.removeprefix("sqlite:///").partition("?")[0]
    if not chosen.database.startswith("sqlite") or Path(path).exists():
        return ""
    return f"there is no database {path} yet: run `nightdesk up` or `nightdesk migrate`"
