"""The error tree. Domain errors know nothing of HTTP: `api/errors.py` holds the table from error to status and code.

Messages are shown to users and operators: they never carry prompts, payloads, secrets or URL queries.
"""

from collections.abc import Iterable
from dataclasses import dataclass

MAX_FAULTS = 50
"""Of one request: whoever mends these may ask again."""


class NightdeskError(Exception):
    """Root of everything Nightdesk raises on purpose."""


class SettingsError(NightdeskError):
    """A setting is unknown, missing or bad; the message names it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a request: a JSON pointer (RFC 6901) into its body and what is wrong there."""

    pointer: str
    detail: str


def pointer_to(parts: Iterable[str | int]) -> str:
    """The JSON pointer (RFC 6901) of a path."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


class Invalid(NightdeskError):
    """The request cannot be accepted as it is; one fault for each thing to mend."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__("; ".join(f"{fault.pointer}: {fault.detail}" for fault in faults))
        self.faults = faults


class BadRequest(NightdeskError):
    """The request cannot be read: not JSON, a bad cursor, a bad header value."""


class EventRefused(BadRequest):
    """An upstream event that is not followed; `outcome` is the reason in a word."""

    def __init__(self, outcome: str, message: str) -> None:
        super().__init__(message)
        self.outcome = outcome


class Unauthenticated(NightdeskError):
    """No API key, or one that does not exist, is revoked or has expired."""


class Forbidden(NightdeskError):
    """The API key lacks the scope that the call needs."""


class NotFound(NightdeskError):
    """Nothing with this id in this project."""


class Conflict(NightdeskError):
    """The job's status does not allow the call; the message names the status."""


class Gone(NightdeskError):
    """It existed and is past its retention, or was deleted."""


class IdempotencyReused(NightdeskError):
    """The idempotency key was used before with another body."""


class QuotaExceeded(NightdeskError):
    """A limit of the service is reached; try again after `retry_after_s` seconds."""

    def __init__(self, message: str, retry_after_s: int, *, limit: int | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.limit = limit


class Unavailable(NightdeskError):
    """The database cannot be reached, or the Gemini API where an answer depends on it."""


class ArtifactStoreError(NightdeskError):
    """The artifact store did not take or give an object; try again later."""


class ResultTooLarge(NightdeskError):
    """A final body without its media is over the limit."""


class AddressRefused(NightdeskError):
    """The address guard refuses this webhook URL; final, never retried."""


class UpstreamError(NightdeskError):
    """The Gemini API did not do what was asked. `status` is the HTTP status, `code` the API's own error code, if any.

    `detail` is the API's own words for the job's owner: it may quote the prompt and never goes into a log.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        retry_after_s: float | None = None,
        detail: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after_s = retry_after_s
        self.detail = detail


class CreateRefused(UpstreamError):
    """Surely not accepted, may be tried again: no connection, 429, 401, 402, a 503 in the API's own shape."""


class CreateRejected(UpstreamError):
    """The create was refused for good: a plain 4xx or a 501."""


class CreateLost(UpstreamError):
    """The create was sent and its outcome is unknown: an interaction may be running, and billed."""
