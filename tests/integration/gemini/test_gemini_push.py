"""Upstream events: which are believed, and that the API's keys are fetched when needed and never often."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import jwt
import orjson
import pytest
from starlette.datastructures import Headers

from tests.integration.gemini import stub as wire
from tests.integration.gemini.stub import Stub
from worker.dev.simulator.signer import Signer, signature
from worker.errors import EventRefused, Unavailable
from worker.gemini import jwks
from worker.gemini.jwks import KeySet
from worker.gemini.loop import LoopThread
from worker.gemini.name import Name, read_name, webhook_config
from worker.gemini.push import Event, Verifier

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
OLD, NEW = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
URL = "https://desk.example/v1/upstream/gemini"
BODY = orjson.dumps({"type": "interaction.completed", "version": "v1", "data": {"id": "v1_a"}})
NAME = Name("job_1", "token")


class Ticks:
    """A clock for the key set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def signer() -> Signer:
    return Signer()


@pytest.fixture
def ticks() -> Ticks:
    return Ticks()


@pytest.fixture
def keys(stub: Stub, loop: LoopThread, ticks: Ticks, signer: Signer) -> KeySet:
    stub.will(wire.says(200, signer.jwks()))
    return KeySet(stub.url, loop, ticks)


@pytest.fixture
def verify(keys: KeySet) -> Callable[..., Event | None]:
    verifier = Verifier([OLD, NEW], keys, URL)
    return lambda headers, body=BODY, now=NOW: verifier.verify(Headers(headers), body, now)


def static(secret: str = NEW, *, body: bytes = BODY, age_s: float = 0, **headers: str) -> dict[str, str]:
    sent_s = int(NOW.timestamp() - age_s)
    signed = signature(secret, "msg_1", sent_s, body)
    given = {"webhook-id": "msg_1", "webhook-timestamp": str(sent_s), "webhook-signature": signed}
    return given | {name.replace("_", "-"): text for name, text in headers.items()}


def dynamic(signer: Signer, *, age_s: float = 0, header_age_s: float = 0, **claims: Any) -> dict[str, str]:
    issued_s = int(NOW.timestamp() - age_s)
    token = signer.token({"iat": issued_s, "exp": issued_s + 300, "aud": URL} | claims)
    sent_s = int(NOW.timestamp() - header_age_s)
    return {"Webhook-Id": "msg_1", "Webhook-Timestamp": str(sent_s), "Webhook-Signature": token}


def outcome(verify: Callable[..., Event | None], *given: Any) -> str:
    with pytest.raises(EventRefused) as refused:
        verify(*given)
    return refused.value.outcome


@pytest.mark.parametrize("secret", [OLD, NEW])
def test_a_static_event_is_believed_by_any_live_secret(verify: Callable[..., Event], secret: str, stub: Stub) -> None:
    assert verify(static(secret)).upstream_id == "v1_a"
    assert stub.requests == []


def test_one_of_several_signatures_suffices(verify: Callable[..., Event]) -> None:
    good = static()["webhook-signature"]

    assert verify(static(webhook_signature=f"v1,AAAA v2,x {good}")).marks == ("id msg_1",)


@pytest.mark.parametrize(
    "headers",
    [
        static("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
        static(body=b'{"type": "interaction.failed"}'),
        static(webhook_id="msg_2"),
        static(webhook_id=""),
        static(webhook_timestamp="1"),
        static(webhook_timestamp="soon"),
        static(webhook_signature="v1,"),
        static(webhook_signature="v1,!"),
        static(webhook_signature=""),
        static(webhook_signature="nonsense"),
        {},
    ],
)
def test_a_forged_static_event_is_refused(verify: Callable[..., Event], headers: dict[str, str]) -> None:
    assert outcome(verify, headers) == "forged"


def test_a_body_that_is_no_text_is_refused(verify: Callable[..., Event]) -> None:
    assert outcome(verify, static(), b"\xff") == "forged"


@pytest.mark.parametrize("age_s", [301, -301])
def test_a_stale_static_event_is_refused(verify: Callable[..., Event], age_s: float) -> None:
    assert outcome(verify, static(age_s=age_s)) == "stale"
    assert verify(static(age_s=age_s / 1.1)).upstream_id == "v1_a"


def test_a_dynamic_event_is_believed_by_a_published_key(
    verify: Callable[..., Event], signer: Signer, stub: Stub
) -> None:
    assert verify(dynamic(signer)).upstream_id == "v1_a"
    assert verify(dynamic(signer, aud="a-client-id", iss="whoever")).upstream_id == "v1_a"
    assert verify(dynamic(signer, aud=[URL, "x"])).upstream_id == "v1_a"
    assert [request.target for request in stub.requests] == ["/.well-known/jwks.json"]


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"age_s": 301}, "stale"),
        ({"age_s": -301}, "stale"),
        ({"header_age_s": 301}, "stale"),
        ({"iat": None, "header_age_s": 301}, "stale"),
        ({"exp": NOW.timestamp() - 301}, "stale"),
        ({"nbf": NOW.timestamp() + 301}, "stale"),
        ({"iat": 1e30}, "stale"),
        ({"aud": "https://elsewhere.example/hook"}, "foreign"),
        ({"aud": ["https://elsewhere.example/hook", "x"]}, "foreign"),
    ],
)
def test_a_dynamic_event_that_is_late_or_for_somebody_else_is_refused(
    verify: Callable[..., Event], signer: Signer, claims: dict[str, Any], why: str
) -> None:
    headers = dynamic(signer, **claims)
    if claims.get("iat") == 1e30:
        headers.pop("Webhook-Timestamp")

    assert outcome(verify, headers) == why


def forgeries(signer: Signer) -> dict[str, str]:
    claims = {"iat": NOW.timestamp()}
    real = signer.token(claims)
    head, payload, signed = real.split(".")
    public = signer.jwks()["keys"][0]["n"]
    impostor = Signer()
    impostor.key_id = signer.key_id
    return {
        "another key under the same id": impostor.token(claims),
        "an unknown key": Signer().token(claims),
        "the public key as a secret": jwt.encode(claims, public, algorithm="HS256", headers={"kid": signer.key_id}),
        "no algorithm": jwt.encode(claims, "", algorithm="none", headers={"kid": signer.key_id}),
        "other claims": f"{head}.{jwt.encode({'iat': 1}, 'x' * 32).split('.')[1]}.{signed}",
        "no signature": f"{head}.{payload}.",
        "no token": "a.b.c",
        "too much": f"{head}.{payload}.{'A' * 20_000}",
    }


def test_a_forged_dynamic_event_is_refused(verify: Callable[..., Event], signer: Signer) -> None:
    found = {
        kind: outcome(verify, dynamic(signer) | {"Webhook-Signature": token})
        for kind, token in forgeries(signer).items()
    }

    assert set(found.values()) == {"forged"}, found


def test_where_only_static_events_are_expected_no_token_is_believed(signer: Signer, stub: Stub) -> None:
    verifier = Verifier([NEW], None, None)
    stub.will(wire.says(200, signer.jwks()))

    with pytest.raises(EventRefused):
        verifier.verify(Headers(dynamic(signer)), BODY, NOW)

    assert stub.requests == []


def test_what_the_token_says_of_the_event_goes_before_the_body(verify: Callable[..., Event], signer: Signer) -> None:
    headers = dynamic(signer, type="interaction.completed", data={"id": "v1_b"})

    assert verify(headers).upstream_id == "v1_b"


def test_a_copy_under_another_id_has_a_mark_in_common(verify: Callable[..., Event], signer: Signer) -> None:
    headers = dynamic(signer)

    first, copy = verify(headers), verify(headers | {"Webhook-Id": "msg_2"})

    assert set(first.marks) & set(copy.marks)
    assert not set(first.marks) & set(verify(dynamic(signer, jti="2") | {"Webhook-Id": "msg_3"}).marks)


@pytest.mark.parametrize("place", ["data", "event", "claims", "config"])
def test_the_name_of_a_create_is_found_wherever_it_is_told(
    verify: Callable[..., Event], signer: Signer, place: str
) -> None:
    config = webhook_config(URL, NAME, "1.1")
    metadata = {"user_metadata": config["user_metadata"]}
    event = orjson.loads(BODY)
    if place in {"data", "config"}:
        event["data"] |= metadata if place == "data" else {"webhook_config": config}
    event |= metadata if place == "event" else {}

    found = verify(dynamic(signer, **(metadata if place == "claims" else {})), orjson.dumps(event))

    assert found.name == NAME
    assert NAME.token not in repr(found)


@pytest.mark.parametrize(
    "metadata", [None, [], {}, {"job": "a"}, {"job": 1, "token": "t"}, {"job": "a\x00", "token": "t"}]
)
def test_metadata_of_somebody_else_is_no_name(metadata: Any) -> None:
    assert read_name(metadata) is None


def test_an_event_about_anything_else_is_real_and_ignored(verify: Callable[..., Event | None]) -> None:
    body = orjson.dumps({"type": "batch.completed", "data": {"id": "b"}})

    assert verify(static(body=body), body) is None


@pytest.mark.parametrize(
    "body",
    [b"[]", b"x", b"{}", b'{"type": "interaction.completed", "data": {}}', b'{"type": 1, "data": {"id": "v1_a"}}'],
)
def test_an_event_that_says_nothing_is_refused(verify: Callable[..., Event], body: bytes) -> None:
    assert outcome(verify, static(body=body), body) == "unreadable"


def test_an_unknown_key_is_looked_for_again_but_not_often(
    keys: KeySet, stub: Stub, ticks: Ticks, signer: Signer
) -> None:
    rotated = Signer()
    assert keys.find(signer.key_id)
    stub.will(wire.says(200, rotated.jwks()))

    assert [keys.find(rotated.key_id) for _ in range(5)] == [None] * 5
    assert stub.requests == []

    ticks.now += jwks.EVERY_S
    assert keys.find(rotated.key_id)
    assert keys.find(signer.key_id) is None
    assert len(stub.requests) == 1


def test_keys_that_have_grown_old_are_fetched_anew_and_serve_where_that_fails(
    keys: KeySet, stub: Stub, ticks: Ticks, signer: Signer
) -> None:
    assert keys.find(signer.key_id)
    stub.will(wire.says(503))
    ticks.now += jwks.FRESH_S + 1

    assert keys.find(signer.key_id)
    assert keys.find(signer.key_id)

    assert len(stub.requests) == 1


@pytest.mark.parametrize(
    "act",
    [
        wire.says(503),
        wire.says(200, b"<html>"),
        wire.says(200, {"keys": []}),
        wire.says(302, b"", Location="http://127.0.0.1:1/"),
        wire.says(200, b"x" * (jwks.MAX_BYTES + 1)),
        wire.closes(),
    ],
)
def test_without_any_key_an_event_is_neither_believed_nor_refused(
    keys: KeySet, stub: Stub, ticks: Ticks, signer: Signer, act: wire.Act
) -> None:
    stub.will(act)

    for _ in range(3):
        with pytest.raises(Unavailable):
            keys.find(signer.key_id)
    # The HTTP library tries a GET again by itself whose connection was closed.
    assert len(stub.requests) <= 2

    stub.will(wire.says(200, signer.jwks()))
    ticks.now += jwks.EVERY_S
    assert keys.find(signer.key_id)


def test_only_public_rsa_keys_that_are_long_enough_are_kept(signer: Signer) -> None:
    (good,) = signer.jwks()["keys"]
    short = {**good, "kid": "short", "n": good["n"][:170]}
    others = [{**good, "kid": "enc", "use": "enc"}, {"kty": "oct", "kid": "oct", "k": "AAAA"}, {"kty": "RSA"}, 7, short]

    assert list(jwks.read_keys(orjson.dumps({"keys": [*others, good]}))) == [signer.key_id]
    assert jwks.read_keys(b"[]") == {}
