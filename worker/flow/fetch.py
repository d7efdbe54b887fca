"""Fetch: media that a result names by URI, from the Files API into the artifact store.

The owner of a job has no key to fetch them with, and the API forgets them after two days. Only files of the API are
fetched, by their name there, and never one that another project holds; one at a time for each process.
"""

from concurrent.futures import TimeoutError as TooLate
from dataclasses import dataclass
from typing import IO

from worker.context import Context
from worker.errors import ArtifactStoreError, UpstreamError
from worker.gemini.references import NAME_MAX, file_name
from worker.gemini.result import Link, Outcome
from worker.models import Job
from worker.store import holdings

MAX_BYTES = 512 * 1024 * 1024
TRIES = 3
"""How often a result is put off because of a file that cannot be fetched."""

FINAL = frozenset({400, 403, 404, 413})
SLACK_S = 5.0


class SlowError(Exception):
    """There is something to fetch, which takes longer than others shall wait."""


@dataclass(frozen=True, slots=True)
class Named:
    """Media of an output, and their name with the Files API."""

    name: str
    link: Link


def named(context: Context, job: Job, outcome: Outcome) -> list[Named]:
    """What there is to fetch of an outcome."""
    base_url = context.settings.gemini
    known = [Named(name, link) for link in outcome.links if (name := file_name(link.uri, base_url))]
    found = [one for one in known if len(one.name) <= NAME_MAX and "\x00" not in one.name]
    if not found:
        return []
    with context.database.read() as session:
        holders = holdings.owners(session, {one.name for one in found})
    return [one for one in found if holders.get(one.name, job.project_id) == job.project_id]


def download(context: Context, one: Named, into: IO[bytes]) -> int:
    """Write the bytes of one file, and turn to its beginning; gives back how many. Raises UpstreamError."""
    future = context.files.fetch(one.name, into, MAX_BYTES)
    try:
        size = future.result(context.settings.talk_file_s + SLACK_S)
    except TooLate:
        future.cancel()
        raise UpstreamError("the Files API cannot be reached (timeout)") from None
    into.seek(0)
    return size


def refused(one: Named, error: UpstreamError, tries: int) -> str:
    """The note of a file that is not fetched; raises ArtifactStoreError where it may yet be."""
    if tries < TRIES and error.status not in FINAL:
        raise ArtifactStoreError(str(error))
    return f"a {one.link.kind} was left at the Gemini API, which keeps it for two days: {error}"
