"""Verifies the API's own events: static ones by HMAC (Standard Webhooks), dynamic ones by a JWT of its published keys.

A verified event is a hint and nothing more. Whether its JWT binds body or addressee is nowhere documented
(`upstream.md` 6), so nobody may act on what an event says without asking the API itself.
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import orjson
from standardwebhooks import Webhook

from worker.errors import EventRefused
from worker.gemini.jwks import ALGORITHM, KeySet
from worker.gemini.name import Name, read_name
from worker.gemini.resource import is_id

TOLERANCE = timedelta(minutes=5)
ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
ABOUT = "interaction."
MAX_SIGNATURES = 8
MAX_TOKEN = 16 * 1024
UNCHECKED = {f"verify_{claim}": False for claim in ("exp", "nbf", "iat", "aud", "iss", "sub", "jti")}
"""Claims are checked here, by the clock that is given: none of them is documented to be there."""


@dataclass(frozen=True, slots=True)
class Event:
    """A verified event: something happened to an interaction."""

    upstream_id: str
    name: Name | None
    """Whose it says the interaction is; None where it does not say."""
    marks: tuple[str, ...] = field(repr=False)
    """What the same event, or a copy of it, has in common with this one."""


class Verifier:
    """Knows the secrets and the keys of one installation; `audience` is the URL that events are sent to."""

    def __init__(self, secrets: Sequence[str], keys: KeySet | None, audience: str | None) -> None:
        self._hooks = [Webhook(secret) for secret in secrets]
        self._keys = keys
        self._audience = audience

    def verify(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Event | None:
        """Return the event; None: it is real and about no interaction. `headers` must not mind letter case.

        Raises EventRefused, and Unavailable while the API's keys cannot be had.
        """
        name, signature = headers.get(ID, ""), headers.get(SIGNATURE, "")
        if not 0 < len(name) <= 256 or not signature:
            raise EventRefused("forged", "the event is not signed")
        parts = signature.split(" ")[:MAX_SIGNATURES]
        if any(part.startswith("v1,") for part in parts):
            self._verify_static(name, headers, parts, body, now)
            return _event(_json(body), {}, (f"id {name}",))
        token = parts[-1].rpartition(",")[2]
        claims = self._verify_dynamic(headers, token, now)
        # A copy may come under another id, which nothing binds, but not with other claims.
        signed = hashlib.sha256(token.rpartition(".")[0].encode()).hexdigest()
        return _event(_json(body), claims, (f"id {name}", f"token {signed}"))

    def _verify_static(
        self, name: str, headers: Mapping[str, str], parts: Sequence[str], body: bytes, now: datetime
    ) -> None:
        sent_at = _sent_at(headers)
        try:
            text = body.decode()
        except UnicodeDecodeError:
            raise EventRefused("forged", "the signature does not fit the body") from None
        if sent_at is None or not any(_fits(hook.sign(name, sent_at, text), parts) for hook in self._hooks):
            raise EventRefused("forged", "the signature does not fit the body")
        _refuse_stale(sent_at, now)

    def _verify_dynamic(self, headers: Mapping[str, str], token: str, now: datetime) -> dict[str, Any]:
        claims = self._claims(token)
        issued_at = _moment(claims.get("iat")) or _sent_at(headers)
        if issued_at is None:
            raise EventRefused("stale", "the event does not say when it was sent")
        _refuse_stale(issued_at, now)
        _refuse_stale(_sent_at(headers) or issued_at, now)
        until, since = _moment(claims.get("exp")), _moment(claims.get("nbf"))
        if (until and until + TOLERANCE < now) or (since and since - TOLERANCE > now):
            raise EventRefused("stale", "the event is too old or too new")
        if not self._is_for_us(claims.get("aud")):
            raise EventRefused("foreign", "the event is for somebody else")
        return claims

    def _claims(self, token: str) -> dict[str, Any]:
        refused = EventRefused("forged", "the signature does not verify")
        if self._keys is None or len(token) > MAX_TOKEN or token.count(".") != 2:
            raise refused
        try:
            head = jwt.get_unverified_header(token)
            key_id = head.get("kid")
            if head.get("alg") != ALGORITHM or not isinstance(key_id, str):
                raise refused
            key = self._keys.find(key_id)
            if key is None:
                raise refused
            return jwt.decode(token, key, algorithms=[ALGORITHM], options=UNCHECKED)  # type: ignore[arg-type]
        except (jwt.PyJWTError, ValueError, TypeError):
            raise refused from None

    def _is_for_us(self, audience: Any) -> bool:
        """An audience that is a URL must be ours; what else it may be is not documented, and is let pass."""
        named = audience if isinstance(audience, list) else [audience]
        urls = [name.rstrip("/") for name in named if isinstance(name, str) and "://" in name]
        return not urls or (self._audience or "").rstrip("/") in urls


def _fits(wanted: str, parts: Sequence[str]) -> bool:
    return any(hmac.compare_digest(wanted.encode(), part.encode()) for part in parts)


def _sent_at(headers: Mapping[str, str]) -> datetime | None:
    text = headers.get(TIMESTAMP, "")
    return _moment(int(text)) if text.isascii() and text.isdecimal() and len(text) <= 12 else None


def _moment(seconds: Any) -> datetime | None:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def _refuse_stale(sent_at: datetime, now: datetime) -> None:
    if abs(now - sent_at) > TOLERANCE:
        raise EventRefused("stale", "the event is too old or too new")


def _json(body: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise EventRefused("unreadable", "the event is no JSON object")
    return value


def _event(body: dict[str, Any], claims: dict[str, Any], marks: tuple[str, ...]) -> Event | None:
    """Read the event; where its token repeats what happened to whom, the token is right."""
    told: dict[str, Any] = {**body, **{name: claims[name] for name in ("type", "data") if name in claims}}
    data, kind = told.get("data"), told.get("type")
    if not isinstance(kind, str) or not isinstance(data, Mapping):
        raise EventRefused("unreadable", "the event has no type or no data")
    if not kind.startswith(ABOUT):
        return None
    upstream_id = data.get("id")
    if not is_id(upstream_id):
        raise EventRefused("unreadable", "the event names no interaction")
    places = (data, data.get("webhook_config"), told, claims)
    names = (read_name(place.get("user_metadata")) for place in places if isinstance(place, Mapping))
    return Event(upstream_id, next(filter(None, names), None), marks)
