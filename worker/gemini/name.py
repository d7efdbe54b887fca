"""The name that a create carries where upstream events come: by it an event finds the job whose answer was lost.

It travels as the webhook's `user_metadata`, which the API repeats on the interaction. The token makes it unguessable.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

JOB, ATTEMPT, TOKEN = "job", "attempt", "token"
PART_MAX = 64


@dataclass(frozen=True, slots=True)
class Name:
    """A job, and the token of the one POST that was sent for it."""

    job_id: str
    token: str = field(repr=False)


def webhook_config(url: str, name: Name, attempt: str) -> dict[str, Any]:
    """Return the create's `webhook_config`: where events go, and what they shall bring along."""
    return {"uris": [url], "user_metadata": {JOB: name.job_id, ATTEMPT: attempt, TOKEN: name.token}}


def read_name(user_metadata: Any) -> Name | None:
    """Return the name in a webhook's metadata; None where it is somebody else's."""
    if not isinstance(user_metadata, Mapping):
        return None
    job_id, token = user_metadata.get(JOB), user_metadata.get(TOKEN)
    return Name(job_id, token) if _is_part(job_id) and _is_part(token) else None


def _is_part(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and 0 < len(value) <= PART_MAX and value.isascii() and value.isprintable()
