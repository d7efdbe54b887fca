"""The tree of commands. Holds no command itself."""

import typer

from worker.cli import check, client, gates, hook, keys, processes, projects, reseal


def build() -> typer.Typer:
    """The whole command."""
    app = typer.Typer(
        help="Background jobs for Google's Gemini Interactions API: submit, go home, get a signed webhook.",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    for part in (processes, check, gates, projects, keys, reseal, hook, client):
        part.register(app)
    return app
