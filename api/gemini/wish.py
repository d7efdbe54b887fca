"""A create's body, taken apart: what the job's submission is given, and what this door sees to by itself.

It refuses only what a submission would not see: `worker.flow.draft` validates the rest.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from worker.errors import AddressRefused, Fault, Invalid
from worker.gemini.request import FIELDS
from worker.options import MAX_KEYS
from worker.webhooks.address import Policy, check_url

PREVIOUS = "previous_interaction_id"
MAX_URIS = 5
MAX_URI_LENGTH = 2048
MAX_USER_METADATA_BYTES = 16 * 1024
KEY_LENGTH, VALUE_LENGTH = 64, 512

_PASSED = FIELDS - {"extra_body"} | {"store"}
_SEEN_TO = {"background", "stream", "webhook_config"}


@dataclass(frozen=True, slots=True)
class Wish:
    """What a create asks for."""

    fields: dict[str, Any] = field(repr=False)
    """A submission's fields, but for what `previous_interaction_id` comes to."""
    is_background: bool = False
    is_streamed: bool = False
    previous: str | None = None
    webhook_config: dict[str, Any] | None = field(default=None, repr=False)


def read(content: Mapping[str, Any], policy: Policy) -> Wish:
    """Take a body apart; raises Invalid."""
    given = {name: value for name, value in content.items() if value is not None}
    faults = [
        Fault(f"/{name}", "must be true or false")
        for name in ("background", "stream")
        if not isinstance(given.get(name, False), bool)
    ]
    previous = given.pop(PREVIOUS, None)
    if previous is not None and not isinstance(previous, str):
        faults.append(Fault(f"/{PREVIOUS}", "must be a string"))
    config, more = _webhook_config(given.get("webhook_config"), policy)
    faults += more
    if faults:
        raise Invalid(*faults)
    return Wish(
        fields=_fields(given, config),
        is_background=given.get("background", False),
        is_streamed=given.get("stream", False),
        previous=previous,
        webhook_config=config,
    )


def _fields(given: Mapping[str, Any], config: Mapping[str, Any] | None) -> dict[str, Any]:
    """Parameters that this release does not know travel as they are: the upstream knows whether they are any."""
    fields = {name: value for name, value in given.items() if name in _PASSED}
    others = {name: value for name, value in given.items() if name not in _PASSED | _SEEN_TO}
    if others:
        fields["extra_body"] = others
    told = _texts((config or {}).get("user_metadata") or {})
    return {**fields, "metadata": told} if told else fields


def _texts(user_metadata: Mapping[str, Any]) -> dict[str, str]:
    """What of it a job's own metadata can hold; the whole is on the interaction."""
    texts = {
        name: value
        for name, value in user_metadata.items()
        if isinstance(value, str) and 0 < len(name) <= KEY_LENGTH and len(value) <= VALUE_LENGTH
    }
    return {name: texts[name] for name in list(texts)[:MAX_KEYS]}


def _webhook_config(value: Any, policy: Policy) -> tuple[dict[str, Any] | None, list[Fault]]:
    if value is None:
        return None, []
    if not isinstance(value, Mapping):
        return None, [Fault("/webhook_config", "must be an object")]
    faults = [
        Fault(f"/webhook_config/{name[:64]}", "is not a parameter that is known here")
        for name in value
        if name not in {"uris", "user_metadata"}
    ]
    uris, user_metadata = value.get("uris") or [], value.get("user_metadata")
    faults += _bad_uris(uris, policy)
    if user_metadata is not None:
        faults += _bad_metadata(user_metadata)
    config = {"uris": uris} | ({} if user_metadata is None else {"user_metadata": user_metadata})
    return config, faults


def _bad_uris(uris: Any, policy: Policy) -> list[Fault]:
    if not isinstance(uris, list) or len(uris) > MAX_URIS:
        return [Fault("/webhook_config/uris", f"must be a list of at most {MAX_URIS} URLs")]
    faults = []
    for number, uri in enumerate(uris):
        at = f"/webhook_config/uris/{number}"
        if not isinstance(uri, str) or not 0 < len(uri) <= MAX_URI_LENGTH:
            faults.append(Fault(at, f"must be a URL of at most {MAX_URI_LENGTH} characters"))
            continue
        try:
            check_url(uri, policy)
        except AddressRefused as error:
            faults.append(Fault(at, str(error)))
    return faults


def _bad_metadata(user_metadata: Any) -> list[Fault]:
    at = "/webhook_config/user_metadata"
    if not isinstance(user_metadata, Mapping):
        return [Fault(at, "must be an object")]
    try:
        text = orjson.dumps(user_metadata)
    except orjson.JSONEncodeError:
        return [Fault(at, "must not be nested so deep")]
    if len(text) > MAX_USER_METADATA_BYTES:
        return [Fault(at, f"must not be longer than {MAX_USER_METADATA_BYTES} bytes")]
    # PostgreSQL's JSONB refuses it, and with it the transaction of everybody who submits at the same time.
    return [Fault(at, "must not contain NUL")] if b"\\u0000" in text else []
