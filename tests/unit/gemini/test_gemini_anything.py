"""Whatever the upstream answers or sends is read or refused: creates, resources, refusals and events."""

import json
from datetime import UTC, datetime
from typing import Any

import orjson
from google.genai.interactions import Interaction
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from tests import anything
from worker.dev.simulator.signer import signature
from worker.errors import EventRefused, UpstreamError
from worker.gemini.client import Created, created_by
from worker.gemini.push import Event, Verifier
from worker.gemini.refusal import create_error, read_refusal
from worker.gemini.resource import read_resource

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

MADE = anything.spoiled(anything.record(Interaction, always=("id", "agent", "labels")))
BYTES = MADE.map(json.dumps).map(str.encode) | st.binary(max_size=60)
ERROR = st.dictionaries(st.sampled_from(["code", "status", "message", "details"]), anything.ANYTHING)
REFUSED = st.fixed_dictionaries({"error": ERROR | anything.ANYTHING}) | anything.ANYTHING


@anything.examples(100)
@given(body=BYTES)
def test_whatever_a_create_is_answered_with_is_an_interaction_or_none(body: bytes) -> None:
    made = created_by(body)

    assert made is None or (isinstance(made, Created) and made.upstream_id.isprintable() and made.status)


@anything.examples(100)
@given(body=BYTES)
def test_whatever_a_get_is_answered_with_is_a_resource_that_can_be_stored_or_none(body: bytes) -> None:
    resource = read_resource("v1_asked", body)

    if resource is not None:
        stored = (resource.upstream_id, resource.target, resource.status, resource.previous_id or "", *resource.labels)
        assert all("\0" not in text and text.encode() is not None for text in stored)
        assert orjson.loads(orjson.dumps(dict(resource.request))) == resource.request


@anything.examples(100)
@given(status=st.integers(400, 599), body=REFUSED.map(json.dumps).map(str.encode) | st.binary(max_size=60))
def test_whatever_refuses_a_create_says_what_becomes_of_it(status: int, body: bytes) -> None:
    error = create_error(read_refusal(status, {}, body))

    assert isinstance(error, UpstreamError)
    assert len(str(error)) < 200
    assert "\0" not in f"{error} {error.code} {error.detail}"


@anything.examples(100)
@given(told=anything.spoiled(st.fixed_dictionaries({"type": st.just("interaction.completed"), "data": REFUSED})))
def test_whatever_a_signed_event_says_is_followed_or_refused(told: Any) -> None:
    body, sent_s = json.dumps(told).encode(), int(NOW.timestamp())
    signed = signature(SECRET, "msg_1", sent_s, body)
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(sent_s), "webhook-signature": signed}

    try:
        event = Verifier([SECRET], None, None).verify(Headers(headers), body, NOW)
    except EventRefused as error:
        assert error.outcome == "unreadable"  # noqa: PT017 - most bodies are refused, and some are not
    else:
        assert event is None or isinstance(event, Event)
