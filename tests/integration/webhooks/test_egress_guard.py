"""The one POST goes where the guard looked, carries what it was given, and follows nobody."""

from datetime import UTC, datetime
from ipaddress import ip_network

import pytest

from tests.integration.webhooks.listener import OK, Names, answering, egress, listening, post
from worker.webhooks.address import Policy
from worker.webhooks.reply import ReplyKind

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("addresses", [["127.0.0.1", "10.0.0.1"], ["10.0.0.1", "127.0.0.1"], ["127.0.0.1", "::1"]])
async def test_a_name_with_one_refused_address_is_not_connected_to(addresses: list[str]) -> None:
    async with listening(answering(OK)) as receiver, egress(resolver=Names(addresses)) as out:
        reply = await post(out, f"http://mixed.example:{receiver.port}/")

        assert reply.kind is ReplyKind.REFUSED
        assert await receiver.was_never_reached()


async def test_a_name_that_changes_between_lookups_leads_only_where_the_guard_looked() -> None:
    names = Names(["127.0.0.1"], ["127.0.0.2"])
    async with (
        listening(answering(OK)) as vetted,
        listening(answering(OK), host="127.0.0.2", port=vetted.port) as rebound,
        egress(resolver=names) as out,
    ):
        reply = await post(out, f"http://rebind.example:{vetted.port}/")

        assert reply.kind is ReplyKind.OK
        assert names.asked == ["rebind.example"]
        assert len(vetted.requests) == 1
        assert await rebound.was_never_reached()


async def test_every_post_is_vetted_anew_although_a_connection_is_kept() -> None:
    names = Names(["127.0.0.1"], ["127.0.0.2"])
    async with (
        listening(answering(OK)) as vetted,
        listening(answering(OK), host="127.0.0.2", port=vetted.port) as rebound,
        egress(resolver=names) as out,
    ):
        url = f"http://rebind.example:{vetted.port}/"
        first, second = await post(out, url), await post(out, url)

        assert (first.kind, second.kind) == (ReplyKind.OK, ReplyKind.REFUSED)
        assert len(vetted.requests) == 1
        assert await rebound.was_never_reached()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_to_a_metadata_service_is_a_failure_and_not_followed(status: int) -> None:
    redirect = f"HTTP/1.1 {status} Moved\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n".encode()
    async with listening(answering(redirect)) as receiver, egress() as out:
        reply = await post(out, receiver.url)

        assert (reply.kind, reply.status) == (ReplyKind.HTTP, status)
        assert len(receiver.requests) == 1


async def test_a_redirect_to_an_address_that_is_allowed_is_not_followed_either() -> None:
    async with listening(answering(OK)) as elsewhere:
        redirect = f"HTTP/1.1 307 Moved\r\nLocation: {elsewhere.url}\r\nContent-Length: 0\r\n\r\n".encode()
        async with listening(answering(redirect)) as receiver, egress() as out:
            reply = await post(out, receiver.url)

            assert reply.status == 307
            assert await elsewhere.was_never_reached()


@pytest.mark.parametrize(
    "url",
    ["https://127.0.0.1:{port}/", "https://[::1]:{port}/", "https://localhost:{port}/", "https://2130706433:{port}/"],
)
async def test_a_literal_address_is_vetted_although_nothing_is_resolved(url: str) -> None:
    names = Names(["127.0.0.1"])
    strict = Policy(allow_ports=None)
    async with listening(answering(OK)) as receiver, egress(strict, resolver=names) as out:
        reply = await post(out, url.format(port=receiver.port))

        assert reply.kind is ReplyKind.REFUSED
        assert names.asked == []
        assert await receiver.was_never_reached()


async def test_proxy_settings_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening(answering(OK)) as proxy, listening(answering(OK)) as receiver:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        async with egress() as out:
            reply = await post(out, receiver.url)

        assert reply.kind is ReplyKind.OK
        assert await proxy.was_never_reached()


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Tenant": "a\r\nHost: internal"},
        {"X-Tenant": "a\nb"},
        {"X-Tenant\r\nHost": "internal"},
        {"Host": "internal"},
        {"Transfer-Encoding": "chunked"},
    ],
)
async def test_a_header_that_forges_the_request_is_refused_and_nothing_is_sent(headers: dict[str, str]) -> None:
    async with listening(answering(OK)) as receiver, egress() as out:
        reply = await post(out, receiver.url, headers)

        assert reply.kind is ReplyKind.REFUSED
        assert await receiver.was_never_reached()


async def test_the_request_carries_the_exact_bytes_path_and_host() -> None:
    body = '{ "ü" : 1 }\n\n'.encode()
    async with listening(answering(OK)) as receiver, egress(resolver=Names(["127.0.0.1"])) as out:
        url = f"http://Hooks.Example:{receiver.port}/a/../b%2f%7e//?q=%7e+x&empty#part"
        await out.post(url, body, {"webhook-id": "evt_1", "X-Tenant": "a"}, sent_at=datetime.now(UTC))

    [request] = receiver.requests
    assert request.head.split("\r\n")[0] == "POST /a/../b%2f%7e//?q=%7e+x&empty HTTP/1.1"
    assert request.body == body
    assert request.header("host") == f"hooks.example:{receiver.port}"
    assert request.header("user-agent") == "Nightdesk/1.2.3"
    assert request.header("content-type") == "application/json"
    assert request.header("accept-encoding") == "identity"
    assert (request.header("webhook-id"), request.header("x-tenant")) == ("evt_1", "a")


async def test_cookies_of_a_receiver_are_forgotten() -> None:
    cookie = b"HTTP/1.1 200 OK\r\nSet-Cookie: session=1\r\nContent-Length: 0\r\n\r\n"
    async with listening(answering(cookie)) as receiver, egress(resolver=Names(["127.0.0.1"])) as out:
        for _ in range(2):
            await post(out, f"http://hooks.example:{receiver.port}/")

    assert [request.header("cookie") for request in receiver.requests] == [None, None]


async def test_localhost_is_found_by_the_system_where_the_policy_allows_loopback() -> None:
    loopback = Policy((ip_network("127.0.0.0/8"), ip_network("::1/128")), allow_http=True, allow_ports=None)
    async with listening(answering(OK)) as receiver, egress(loopback) as out:
        reply = await post(out, f"http://localhost:{receiver.port}/")

    assert reply.kind is ReplyKind.OK
    assert [request.header("host") for request in receiver.requests] == [f"localhost:{receiver.port}"]
