"""Following a job until nothing more happens by itself: long polls, and what is shown meanwhile."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from time import monotonic, sleep
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from worker.cli import sheet, text
from worker.cli.connection import Connection
from worker.cli.glimpse import Glimpse
from worker.states import SETTLED

WAIT_S = 1
"""How old a shown thought may be; an end is told at once."""
LEAST_S = 0.2
"""An API that is about to stop answers a wait at once."""
ANSWER_S = WAIT_S + 15
AGAIN_S = (0.5, 1, 2, 4, 8, 15, 30)
"""For about a minute: an API may be restarted while its jobs go on."""

Tell = Callable[[dict[str, Any]], None]


def follow(connection: Connection, job: dict[str, Any], tell: Tell) -> dict[str, Any]:
    """The job as soon as it has ended or needs an action; `tell` gets it each time it was read."""
    while job["status"] not in SETTLED:
        began = monotonic()
        path, wait = f"/v1/jobs/{job['id']}", {"wait": WAIT_S}
        job = connection.json("GET", path, params=wait, within_s=ANSWER_S, again_s=AGAIN_S)
        tell(job)
        if job["status"] not in SETTLED:
            sleep(max(0.0, LEAST_S - (monotonic() - began)))
    return job


@contextmanager
def telling(console: Console, glimpse: Glimpse) -> Iterator[Tell]:
    """Gives what shows a job's progress: one living line on a terminal, a line for each change elsewhere."""
    if not console.is_interactive:
        yield _Changes(console).tell
        return
    glimpse.begin()
    line = _LivingLine(glimpse)
    with Live(get_renderable=line.render, console=console, refresh_per_second=8, transient=True):
        yield line.tell


class _Changes:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._last = ""

    def tell(self, job: dict[str, Any]) -> None:
        told = sheet.progress(job)
        if told != self._last:
            self._last = told
            self._console.print(f"{datetime.now().astimezone():%H:%M:%S} {told}")


class _LivingLine:
    def __init__(self, glimpse: Glimpse) -> None:
        self._glimpse = glimpse
        self._spinner = Spinner("dots")
        self._job: dict[str, Any] | None = None

    def tell(self, job: dict[str, Any]) -> None:
        self._job = job

    def render(self) -> Spinner:
        if self._job is not None:
            age = text.span(text.seconds_between(self._job["created_at"], text.now()))
            told = f"{age}  {sheet.progress(self._job, self._glimpse.latest)}"
            self._spinner.update(text=Text(told, no_wrap=True, overflow="ellipsis"))
        return self._spinner
