"""What commands write: plain lines and JSON that programs can read, tables and rendered Markdown on a terminal."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table

from worker.cli.text import plain


def out() -> Console:
    """For results."""
    return Console(highlight=False, markup=False, emoji=False, soft_wrap=True)


def err() -> Console:
    """For everything that is not the result."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


def lines(console: Console, told: Iterable[str]) -> None:
    """One line after the other."""
    for line in told:
        console.print(line)


def as_json(content: Any) -> None:
    """JSON, indented."""
    print(json.dumps(content, indent=2, ensure_ascii=False))


def report(markdown: str) -> None:
    """A report: rendered on a terminal, as it is elsewhere."""
    console = out()
    if console.is_terminal:
        console.print(Markdown(plain(markdown)), soft_wrap=False)
    else:
        print(markdown, end="" if markdown.endswith("\n") else "\n")


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on a terminal, else the rows alone, their cells separated by tabs."""
    console = out()
    if not console.is_terminal:
        # Not by the console: it would put blanks in place of the tabs.
        print(*("\t".join(row) for row in rows), sep="\n", end="\n" if rows else "")
        return
    shown = Table(box=SIMPLE_HEAD, pad_edge=False)
    for number, column in enumerate(columns):
        shown.add_column(column, no_wrap=True, overflow="fold" if number == 0 else "ellipsis")
    for row in rows:
        shown.add_row(*row)
    console.print(shown, soft_wrap=False)
