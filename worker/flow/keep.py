"""Keep: the media of ended interactions go into the artifact store, while the claims on their rows are held.

Storing may take longer than a claim lasts. If it ran out, somebody else would begin to store the same, and lose it too.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from worker.context import Context
from worker.gemini.result import Outcome
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
    held_until: datetime | None = None

    def keep(self, job: Job, outcome: Outcome) -> dict[str, Any]:
        """Store the media, repeatably, and describe the output as its owner sees it; raises ArtifactStoreError."""
        folder = f"{job.id}/{job.turn}.{job.attempt}"
        for media in outcome.media:
            self._hold(len(media.data))
            self.context.artifacts.put(f"{folder}/{media.n}", media.data)
        return {
            "output_text": outcome.output_text,
            "output_json": outcome.output_json,
            "citations": [asdict(citation) for citation in outcome.citations],
            "artifacts": [
                {
                    "id": media.n,
                    "kind": media.kind,
                    "mime_type": media.mime_type,
                    "size": len(media.data),
                    "url": f"/v1/jobs/{job.id}/artifacts/{media.n}",
                }
                for media in outcome.media
            ],
            "folder": folder,
        }

    def _hold(self, size: int) -> None:
        """Let the claims outlive the storing of so many bytes, and what there is to do after it."""
        now = self.context.clock()
        claim_s = self.context.settings.claim_poll_s
        wanted = now + timedelta(seconds=claim_s / 2 + size / SLOWEST_BYTES_S)
        if self.held_until is not None and wanted <= self.held_until:
            return
        self.held_until = wanted + timedelta(seconds=claim_s / 2)
        with self.context.database.write() as session:
            claims.hold(session, claim=self.claim, job_ids=self.job_ids, until=self.held_until)
