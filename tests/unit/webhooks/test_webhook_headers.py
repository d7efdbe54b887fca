"""Header fields: what an endpoint's owner may add, and that none can forge the request."""

import pytest

from worker.webhooks.headers import custom_header_fault, headers_fault


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Authorization", "Bearer abc"),
        ("X-Tenant", ""),
        ("x_1.2~", "a\tb c"),
        ("Cookie", "a=b"),
        pytest.param("X-Long", "a" * 4096, id="long"),
    ],
)
def test_an_ordinary_header_is_accepted(name: str, value: str) -> None:
    assert custom_header_fault(name, value) is None
    assert headers_fault({name: value}) is None


@pytest.mark.parametrize(
    "value",
    ["a\r\nHost: internal", "a\nb", "a\rb", "a\x00b", "ü", "\u2028", "a\x7f", pytest.param("a" * 4097, id="long")],
)
def test_a_value_that_could_forge_a_header_is_refused(value: str) -> None:
    assert custom_header_fault("X-Tenant", value) is not None
    assert headers_fault({"X-Fine": "yes", "X-Tenant": value}) is not None


@pytest.mark.parametrize(
    "name",
    ["", "X Tenant", "X-Tenant:", "X\r\nHost", "X-Ténant", "X-Tenant\n", "(x)", pytest.param("a" * 129, id="long")],
)
def test_a_name_that_is_no_token_is_refused(name: str) -> None:
    assert custom_header_fault(name, "a") is not None
    assert headers_fault({name: "a"}) is not None


@pytest.mark.parametrize(
    "name", ["Host", "CONTENT-LENGTH", "Transfer-Encoding", "connection", "Expect", "Upgrade", "TE", "Content-Encoding"]
)
def test_a_header_that_frames_or_routes_the_request_is_refused(name: str) -> None:
    assert custom_header_fault(name, "a") is not None
    assert headers_fault({name: "a"}) is not None


@pytest.mark.parametrize("name", ["webhook-id", "Webhook-Timestamp", "webhook-signature", "User-Agent", "content-type"])
def test_a_header_of_the_sender_is_refused_to_owners_and_may_be_sent(name: str) -> None:
    assert custom_header_fault(name, "a") is not None
    assert headers_fault({name: "a"}) is None


def test_a_fault_does_not_repeat_the_value() -> None:
    assert "PRIVATE" not in str(headers_fault({"X-Tenant": "PRIVATE\n"}))
    assert "PRIVATE" not in str(custom_header_fault("X-Tenant", "PRIVATE\n"))
