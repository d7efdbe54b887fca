"""`nightdesk gemini-webhook`: the registration of this service with the Gemini API, for its static events."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from worker.errors import NotFound, SettingsError

if TYPE_CHECKING:
    from worker.gemini.registration import Registrar, Registration

SETTING = "NIGHTDESK_GEMINI_WEBHOOK_SECRETS"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Register this service for the Gemini API's own events.", no_args_is_help=True)
    group.command("register")(enrol)
    group.command("status")(status)
    group.command("rotate")(rotate)
    app.add_typer(group, name="gemini-webhook")


def enrol() -> None:
    """Register PUBLIC_URL and print its signing secret, once; enable it again where it was disabled."""
    with _registrar() as (registrar, url):
        known = registrar.find(url)
        if known is None:
            made, secret = registrar.register(url)
            print(f"{made.id} tells {url}; put its secret, not shown again, into {SETTING}:", file=sys.stderr)
            print(secret)
            return
        if known.state != "enabled":
            known = registrar.enable(known.id)
    print(f"{known.id} tells {url} already: {known.state}; `nightdesk gemini-webhook rotate` makes a new secret")


def status() -> None:
    """Show the registration; exits non-zero where there is none or it is disabled."""
    with _registrar() as (registrar, url):
        known = _registered(registrar, url)
    print("\n".join(_lines(known)))
    if known.state != "enabled":
        raise typer.Exit(1)


def rotate(
    *,
    at_once: Annotated[bool, typer.Option("--at-once", help="End the old secrets now, not in a day.")] = False,
) -> None:
    """Make a new signing secret and print it, once; the old ones sign along for a day."""
    with _registrar() as (registrar, url):
        known = _registered(registrar, url)
        secret = registrar.rotate(known.id, at_once=at_once)
    how = "instead of" if at_once else "beside"
    print(f"put the new secret into {SETTING}, {how} the old one; it is not shown again:", file=sys.stderr)
    print(secret)


def _registered(registrar: "Registrar", url: str) -> "Registration":
    known = registrar.find(url)
    if known is None:
        raise NotFound(f"nothing is registered for {url}: run `nightdesk gemini-webhook register`")
    return known


def _lines(known: "Registration") -> Iterator[str]:
    yield f"{known.id}  {known.state}  {known.uri}"
    yield f"events: {', '.join(known.events)}"
    for secret, until in known.secrets:
        yield f"secret: {secret}  {f'until {until}' if until else 'live'}"


@contextmanager
def _registrar() -> Iterator[tuple["Registrar", str]]:
    from worker import context  # noqa: PLC0415
    from worker.cli import operator  # noqa: PLC0415
    from worker.gemini.loop import LoopThread  # noqa: PLC0415
    from worker.gemini.registration import Registrar  # noqa: PLC0415

    settings = operator.settings()
    if settings.public_url is None:
        raise SettingsError("NIGHTDESK_PUBLIC_URL: must be set: where the Gemini API can reach this service")
    access = context.access(settings)
    loop = LoopThread()
    loop.start()
    registrar = Registrar(access, loop)
    try:
        yield registrar, settings.upstream_events_url
    finally:
        registrar.close()
        loop.stop()
