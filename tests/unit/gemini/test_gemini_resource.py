"""What the GET of somebody else's interaction is taken to say."""

from typing import Any

import orjson
import pytest

from worker.gemini.resource import read_resource

RUNNING = {"id": "v1_a", "object": "interaction", "status": "in_progress", "agent": "deep-research-preview-04-2026"}


def read(**fields: Any) -> Any:
    return read_resource("v1_a", orjson.dumps(RUNNING | fields))


def test_it_says_who_runs_it_and_how_it_stands() -> None:
    agent, model = read(), read(agent=None, model="gemini-3.8-flash", status="completed")

    assert (agent.kind, agent.target, agent.has_ended) == ("agent", RUNNING["agent"], False)
    assert (model.kind, model.target, model.has_ended) == ("model", "gemini-3.8-flash", True)


def test_it_is_known_by_the_name_that_it_gives_itself() -> None:
    assert read(id="v1_A").upstream_id == "v1_A"
    assert read(id=7).upstream_id == read(id="").upstream_id == "v1_a"


def test_what_it_repeats_of_its_request_is_kept_but_for_input_and_output() -> None:
    tools = [{"type": "google_search"}]

    resource = read(tools=tools, input="secret", steps=[1], labels={"team": "red"}, system_instruction=None)

    assert resource.request == {"tools": tools, "labels": {"team": "red"}}
    assert "google_search" not in repr(resource)


def test_a_previous_interaction_and_labels_are_taken_where_they_can_be_stored() -> None:
    assert read(previous_interaction_id="v1_b").previous_id == "v1_b"
    assert read(previous_interaction_id="\x00").previous_id is None
    assert read(labels={"a": "b", "c": 1, "d": "\x00"}).labels == {"a": "b"}
    assert read(labels=["a"]).labels == {}


def test_the_metadata_of_its_webhook_is_whatever_it_is() -> None:
    assert read(webhook_config={"uris": [], "user_metadata": {"a": 1}}).user_metadata == {"a": 1}
    assert read(webhook_config="x").user_metadata is None


@pytest.mark.parametrize(
    "fields",
    [{"status": None}, {"status": ""}, {"agent": None}, {"agent": "a b"}, {"agent": "\x00"}, {"agent": 7}],
)
def test_without_a_status_or_a_target_it_says_nothing(fields: dict[str, Any]) -> None:
    assert read(**fields) is None


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"<html>"])
def test_what_is_no_object_says_nothing(body: bytes) -> None:
    assert read_resource("v1_a", body) is None
