"""`nightdesk check`: whether this machine's settings work, and with `--worker` whether a worker on it does."""

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from worker.errors import NightdeskError, SettingsError

if TYPE_CHECKING:
    from worker.settings import Settings

Check = Callable[["Settings"], str]

PATIENCE_S = 2.0


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(check)


def check(
    worker: Annotated[bool, typer.Option("--worker", help="Ask a worker on this machine too.")] = False,  # noqa: FBT002
) -> None:
    """Check settings and connectivity; start nothing."""
    from worker.cli import operator  # noqa: PLC0415

    settings = operator.settings()
    checks: dict[str, Check] = {"database": _database, "encryption key": _encryption_key, "redis": _redis}
    # A worker's health is asked for often, and an upstream in trouble is no reason to restart it.
    checks |= {"worker": _worker} if worker else {"catalog": _catalog, "gemini key": _gemini_key}
    print("ok    settings")
    failures = [name for name, one in checks.items() if not _passes(name, one, settings)]
    if failures:
        raise typer.Exit(1)


def _passes(name: str, one: Check, settings: "Settings") -> bool:
    try:
        found = one(settings)
    except NightdeskError as error:
        print(f"FAIL  {name}: {error}")
        return False
    print(f"ok    {name}: {found}")
    return True


def _database(settings: "Settings") -> str:
    from worker.cli import operator  # noqa: PLC0415

    with operator.opened(settings) as database:
        return f"{'SQLite' if database.is_sqlite else 'PostgreSQL'}, at this release"


def _encryption_key(settings: "Settings") -> str:
    from worker.cli import operator  # noqa: PLC0415
    from worker.store import sealings  # noqa: PLC0415
    from worker.vault import CHECK, Vault  # noqa: PLC0415

    vault = Vault(settings.encryption_key)
    if operator.absent(settings):
        return "set; there is no database yet that it must fit"
    with operator.opened(settings) as database, database.read() as session:
        sealed = sealings.get(session, CHECK)
    if sealed is None:
        return "set; the database is new and takes any"
    vault.open(sealed)
    return "fits the database"


def _redis(settings: "Settings") -> str:
    from worker.app import FAILURES, redis_client  # noqa: PLC0415

    client = redis_client(settings, timeout_s=PATIENCE_S)
    try:
        client.ping()
    except FAILURES as error:
        raise SettingsError(f"NIGHTDESK_REDIS_URL: no answer ({type(error).__name__})") from None
    client.close()
    return "answers"


def _catalog(settings: "Settings") -> str:
    from worker import context, retired  # noqa: PLC0415
    from worker.cli import operator  # noqa: PLC0415

    catalog = context.catalog(settings)
    doubts = list(catalog.doubts())
    if not operator.absent(settings):
        with operator.opened(settings) as database:
            doubts = retired.doubts(catalog, database)
    for doubt in doubts:
        print(f"warn  catalog: {doubt}")
    return f"{len(catalog.known)} models and agents"


def _gemini_key(settings: "Settings") -> str:
    from worker import context  # noqa: PLC0415
    from worker.gemini.client import Gemini  # noqa: PLC0415
    from worker.gemini.loop import LoopThread  # noqa: PLC0415

    access = context.access(settings)
    loop = LoopThread()
    loop.start()
    gemini = Gemini(access, loop)
    answer = gemini.probe()
    gemini.close()
    loop.stop()
    if answer.key_works:
        return "works"
    seen = f"HTTP {answer.status}" if answer.status else "no answer"
    raise SettingsError(f"NIGHTDESK_GEMINI_API_KEY: {'refused' if answer.key_works is False else 'unclear'} ({seen})")


def _worker(settings: "Settings") -> str:
    from worker.app import FAILURES, build  # noqa: PLC0415

    app = build(settings, sends=True)
    try:
        answers = app.control.ping(timeout=PATIENCE_S) or []
    except FAILURES as error:
        raise SettingsError(f"no worker can be asked ({type(error).__name__})") from None
    names = [name for answer in answers for name in answer if name.endswith(f"@{socket.gethostname()}")]
    if not names:
        raise SettingsError("no worker on this machine answers")
    return ", ".join(names)
