"""Keep: the media of ended interactions go into the artifact store, while the claims on their rows are held.

Storing may take longer than a claim lasts. If it ran out, somebody else would begin to store the same, and lose it too.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from tempfile import TemporaryFile
from typing import Any

from worker.context import Context
from worker.errors import ArtifactStoreError, UpstreamError
from worker.flow import fetch
from worker.flow.fetch import Named
from worker.gemini.result import Link, Media, Outcome, linked
from worker.models import Job
from worker.store import claims

SLOWEST_BYTES_S = 1024 * 1024
"""A store that takes less in a second than this loses its claim, and is tried again."""


@dataclass(slots=True)
class Keeper:
    """Puts away what one round of results brought; `job_ids` are all of its rows, each under `claim`."""

    context: Context
    claim: str
    job_ids: Sequence[str]
    may_fetch: bool = False
    """Whether what is named by URI is to be fetched now."""
    held_until: datetime | None = None

    def keep(self, job: Job, outcome: Outcome, tries: int) -> tuple[Outcome, dict[str, Any]]:
        """Store the media, repeatably, and describe the output as its owner sees it.

        Raises ArtifactStoreError where it is to be tried again, SlowError where this round is not to wait for it.
        """
        files = fetch.named(self.context, job, outcome) if outcome.links else []
        if files and not self.may_fetch:
            raise fetch.SlowError
        folder = f"{job.id}/{job.turn}.{job.attempt}"
        artifacts: list[dict[str, Any]] = []
        for media in outcome.media:
            self._hold(len(media.data) / SLOWEST_BYTES_S)
            self.context.artifacts.put(f"{folder}/{media.n}", media.data)
            artifacts.append(_artifact(job, media.n, media, len(media.data)))
        if files:
            outcome, fetched = self._fetch(job, folder, outcome, files, tries)
            artifacts += fetched
        return outcome, {
            "output_text": outcome.output_text,
            "output_json": outcome.output_json,
            "citations": [asdict(citation) for citation in outcome.citations],
            "artifacts": artifacts,
            "folder": folder,
        }

    def _fetch(
        self, job: Job, folder: str, outcome: Outcome, files: Sequence[Named], tries: int
    ) -> tuple[Outcome, list[dict[str, Any]]]:
        """Fetch the files of an output; each becomes an artifact, or stays where it is with a note."""
        artifacts, numbers, notes = list[dict[str, Any]](), dict[str, int](), list[str]()
        if not self.context.files.turn.acquire(blocking=False):
            raise ArtifactStoreError("another file is being fetched")
        try:
            for one in files:
                number = len(outcome.media) + len(artifacts)
                self._hold(self.context.settings.talk_file_s)
                try:
                    size = self._move(one, f"{folder}/{number}")
                except UpstreamError as error:
                    notes.append(fetch.refused(one, error, tries))
                    continue
                numbers[one.link.uri] = number
                artifacts.append(_artifact(job, number, one.link, size))
        finally:
            self.context.files.turn.release()
        return linked(outcome, numbers, notes), artifacts

    def _move(self, one: Named, key: str) -> int:
        with TemporaryFile() as file:
            size = fetch.download(self.context, one, file)
            self._hold(size / SLOWEST_BYTES_S)
            self.context.artifacts.put(key, file)
        return size

    def _hold(self, seconds: float) -> None:
        """Let the claims outlive what takes so long, and what there is to do after it."""
        now = self.context.clock()
        claim_s = self.context.settings.claim_poll_s
        wanted = now + timedelta(seconds=claim_s / 2 + seconds)
        if self.held_until is not None and wanted <= self.held_until:
            return
        self.held_until = wanted + timedelta(seconds=claim_s / 2)
        with self.context.database.write() as session:
            claims.hold(session, claim=self.claim, job_ids=self.job_ids, until=self.held_until)


def _artifact(job: Job, number: int, media: Media | Link, size: int) -> dict[str, Any]:
    return {
        "id": number,
        "kind": media.kind,
        "mime_type": media.mime_type,
        "size": size,
        "url": f"/v1/jobs/{job.id}/artifacts/{number}",
    }
