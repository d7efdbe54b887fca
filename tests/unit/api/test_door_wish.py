"""A create's body, taken apart."""

from ipaddress import ip_network
from typing import Any

import pytest

from api.gemini import wish
from worker.errors import Invalid
from worker.webhooks.address import Policy

POLICY = Policy(allow_networks=(ip_network("127.0.0.0/8"),), allow_http=True, allow_ports=None)
HOOK = "https://example.com/hook"


def read(**content: Any) -> wish.Wish:
    return wish.read({"model": "m", "input": "Hello."} | content, POLICY)


def pointers(**content: Any) -> list[str]:
    with pytest.raises(Invalid) as caught:
        read(**content)
    return [fault.pointer for fault in caught.value.faults]


def test_the_parameters_of_an_interaction_are_those_of_a_job() -> None:
    found = read(tools=[{"type": "google_search"}], labels={"a": "b"}, store=True)

    assert found.fields == {
        "model": "m",
        "input": "Hello.",
        "tools": [{"type": "google_search"}],
        "labels": {"a": "b"},
        "store": True,
    }


def test_null_is_absent() -> None:
    found = read(tools=None, background=None, stream=None, webhook_config=None, previous_interaction_id=None)

    assert found == wish.Wish(fields={"model": "m", "input": "Hello."})


def test_what_this_release_does_not_know_travels_as_it_is() -> None:
    found = read(cached_content="c", brand_new={"a": [1]}, continuation_token="t", priority="high", extra_body={"x": 1})

    assert found.fields["extra_body"] == {
        "cached_content": "c",
        "brand_new": {"a": [1]},
        "continuation_token": "t",
        "priority": "high",
        "extra_body": {"x": 1},
    }


def test_flags_and_predecessor_are_seen_to() -> None:
    found = read(background=True, stream=True, previous_interaction_id="job_1")

    assert (found.is_background, found.is_streamed, found.previous) == (True, True, "job_1")
    assert found.fields.keys() == {"model", "input"}


def test_addresses_and_metadata_are_kept() -> None:
    told = {"ticket": "A-7", "tries": 3, "long": "x" * 600}

    found = read(webhook_config={"uris": [HOOK], "user_metadata": told})

    assert found.webhook_config == {"uris": [HOOK], "user_metadata": told}
    assert found.fields["metadata"] == {"ticket": "A-7"}


def test_a_job_takes_as_much_metadata_as_it_can_hold() -> None:
    found = read(webhook_config={"user_metadata": {f"k{number:02}": "v" for number in range(40)}})

    assert len(found.fields["metadata"]) == 16


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"background": "yes"}, ["/background"]),
        ({"stream": 1}, ["/stream"]),
        ({"previous_interaction_id": 7}, ["/previous_interaction_id"]),
        ({"webhook_config": []}, ["/webhook_config"]),
        ({"webhook_config": {"url": HOOK}}, ["/webhook_config/url"]),
        ({"webhook_config": {"uris": HOOK}}, ["/webhook_config/uris"]),
        ({"webhook_config": {"uris": [HOOK] * 6}}, ["/webhook_config/uris"]),
        ({"webhook_config": {"uris": [HOOK, 1, ""]}}, ["/webhook_config/uris/1", "/webhook_config/uris/2"]),
        ({"webhook_config": {"uris": ["http://169.254.169.254/"]}}, ["/webhook_config/uris/0"]),
        ({"webhook_config": {"user_metadata": "x"}}, ["/webhook_config/user_metadata"]),
        ({"webhook_config": {"user_metadata": {"a": "b\0"}}}, ["/webhook_config/user_metadata"]),
        ({"webhook_config": {"user_metadata": {"a": "b" * 17_000}}}, ["/webhook_config/user_metadata"]),
    ],
)
def test_what_no_submission_would_see_is_refused(content: dict[str, Any], expected: list[str]) -> None:
    assert pointers(**content) == expected


def test_metadata_without_a_bottom_is_refused() -> None:
    deep: Any = "x"
    for _ in range(300):
        deep = {"a": deep}

    assert pointers(webhook_config={"user_metadata": deep}) == ["/webhook_config/user_metadata"]
