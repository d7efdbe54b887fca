"""Signatures as receivers see them: checked with two public libraries and with the specification's own formula."""

import base64
import hashlib
import hmac
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest
import standardwebhooks
import svix.webhooks

from worker.webhooks.signing import new_secret, sign

BODY = '{"type":"job.completed","data":{"output_text":"Größe 10 µm — ✓"}}'.encode()

Verify = Callable[[str, bytes, dict[str, str]], None]


def by_standardwebhooks(secret: str, body: bytes, headers: dict[str, str]) -> None:
    standardwebhooks.Webhook(secret).verify(body, headers)


def by_svix(secret: str, body: bytes, headers: dict[str, str]) -> None:
    svix.webhooks.Webhook(secret).verify(body, headers)


def by_the_specification(secret: str, body: bytes, headers: dict[str, str]) -> None:
    key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    if expected not in headers["webhook-signature"].split(" "):
        raise standardwebhooks.WebhookVerificationError("no match")


receivers = pytest.mark.parametrize("verify", [by_standardwebhooks, by_svix, by_the_specification])


def test_a_secret_is_thirty_two_random_bytes_behind_its_prefix() -> None:
    first, second = new_secret(), new_secret()

    assert first.startswith("whsec_")
    assert len(base64.b64decode(first.removeprefix("whsec_"), validate=True)) == 32
    assert first != second


@receivers
def test_receivers_verify_what_was_signed(verify: Verify) -> None:
    secret = new_secret()

    headers = sign([secret], event_id="evt_1", sent_at=datetime.now(UTC), body=BODY)

    verify(secret, BODY, headers)
    assert headers.keys() == {"webhook-id", "webhook-timestamp", "webhook-signature"}


@receivers
def test_during_a_rotation_the_old_and_the_new_secret_both_verify(verify: Verify) -> None:
    old, new = new_secret(), new_secret()

    headers = sign([new, old], event_id="evt_1", sent_at=datetime.now(UTC), body=BODY)

    verify(old, BODY, headers)
    verify(new, BODY, headers)
    assert len(headers["webhook-signature"].split(" ")) == 2


@receivers
def test_another_secret_does_not_verify(verify: Verify) -> None:
    headers = sign([new_secret()], event_id="evt_1", sent_at=datetime.now(UTC), body=BODY)

    with pytest.raises(standardwebhooks.WebhookVerificationError):
        verify(new_secret(), BODY, headers)


@receivers
def test_a_tampered_body_does_not_verify(verify: Verify) -> None:
    secret = new_secret()
    headers = sign([secret], event_id="evt_1", sent_at=datetime.now(UTC), body=BODY)

    with pytest.raises(standardwebhooks.WebhookVerificationError):
        verify(secret, BODY.replace(b"completed", b"cancelled"), headers)


@receivers
@pytest.mark.parametrize("field", ["webhook-id", "webhook-timestamp"])
def test_a_tampered_id_or_time_does_not_verify(verify: Verify, field: str) -> None:
    secret = new_secret()
    headers = sign([secret], event_id="evt_1", sent_at=datetime.now(UTC), body=BODY)
    tampered = {"webhook-id": "evt_2", "webhook-timestamp": str(int(headers["webhook-timestamp"]) - 1)}[field]

    with pytest.raises(standardwebhooks.WebhookVerificationError):
        verify(secret, BODY, headers | {field: tampered})


def test_a_replay_after_five_minutes_does_not_verify() -> None:
    secret = new_secret()
    headers = sign([secret], event_id="evt_1", sent_at=datetime.now(UTC) - timedelta(minutes=6), body=BODY)

    with pytest.raises(standardwebhooks.WebhookVerificationError, match="too old"):
        by_standardwebhooks(secret, BODY, headers)


@receivers
def test_a_time_in_another_zone_is_signed_as_the_same_instant(verify: Verify) -> None:
    secret = new_secret()
    sent_at = datetime.now(timezone(timedelta(hours=9)))

    headers = sign([secret], event_id="evt_1", sent_at=sent_at, body=BODY)

    verify(secret, BODY, headers)
    assert headers["webhook-timestamp"] == str(int(sent_at.timestamp()))


@pytest.mark.parametrize(
    ("secrets", "sent_at", "body"),
    [
        ([], datetime.now(UTC), BODY),
        ([new_secret()], datetime.now(UTC).replace(tzinfo=None), BODY),
        ([new_secret()], datetime.now(UTC), b"\xff\xfe"),
    ],
    ids=["no secret", "naive time", "not UTF-8"],
)
def test_what_cannot_be_signed_exactly_is_not_signed(secrets: list[str], sent_at: datetime, body: bytes) -> None:
    with pytest.raises(ValueError, match=r"secret|utf-8"):
        sign(secrets, event_id="evt_1", sent_at=sent_at, body=body)
