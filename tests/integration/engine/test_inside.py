"""Nothing inside is ever connected to: on no path by which a webhook may be sent, whatever a name resolves to.

A receiver on loopback must stay silent, though it listens at the very port that every URL here names.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest
import sqlalchemy as sa

from api.gemini import wish
from tests.integration.engine.engine import Engine
from tests.integration.engine.hooks import Hooks, Say
from worker.context import Context
from worker.errors import Invalid
from worker.flow import adopt, deliver, endpoints
from worker.flow.adopt import Asked
from worker.flow.submit import Order
from worker.models import Delivery, DeliveryAttempt, WebhookEndpoint
from worker.webhooks.address import Policy
from worker.webhooks.egress import Egress

INSIDE = [
    *("127.0.0.1", "127.1", "2130706433", "017700000001", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "127.0.0.1."),
    *("10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1"),
    *("240.0.0.1", "255.255.255.255", "192.0.2.1", "198.51.100.1", "203.0.113.1", "198.18.0.1"),
    *("[::1]", "[::]", "[fd00::1]", "[fe80::1]", "[fe80::1%25lo]", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]"),
    *("[2002:7f00:1::]", "[2001:0:7f00:1::]", "[2001:db8::1]", "[ff02::1]", "[::127.0.0.1]"),
    *("localhost", "a.localhost", "LOCALHOST", "localhost.", "me@127.0.0.1", "example.com@127.0.0.1"),
    *("\uff11\uff12\uff17.0.0.1", "127\u30020\u30020\u30021", "\u2460\u2461\u2466.0.0.1", "loc\u0430lhost\u3002"),
    *("127.0.0.1\\@example.com", "example.com\\@127.0.0.1", " 127.0.0.1", "127.0.0.1\t"),
]
STRICT = Policy(allow_http=True, allow_ports=None)
PLACES = {"/url", "/webhook_url", "/webhook_config/uris/0"}
PUBLIC = "93.184.215.14"
"""Never connected to either: it only ever stands beside one that is refused."""


class Names:
    """A resolver that gives its answers in turn, the last one for ever."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked = 0

    async def __call__(self, host: str) -> Sequence[str]:
        assert host
        self.asked += 1
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


@pytest.fixture
def strict(engine: Engine) -> Iterator[Callable[..., Names]]:
    """Gives the engine a guard that allows nothing inside, and a resolver of these answers."""
    made: list[tuple[Context, Egress]] = []

    def use(*answers: Sequence[str], policy: Policy = STRICT) -> Names:
        names = Names(*answers)
        context = engine.context

        async def make() -> Egress:
            return Egress(policy, "1.2.3", resolver=names)

        egress = context.loop.run(make(), 5)
        made.append((context, egress))
        engine.context = replace(context, egress=egress)
        engine.set(webhook_allow_networks=(), webhook_allow_http=True, webhook_allow_ports=None)
        return names

    yield use
    for context, egress in made:
        context.loop.run(egress.close(), 5)


def url(hooks: Hooks, host: str) -> str:
    return hooks.url("/inside").replace("127.0.0.1", host)


def adoption(project_id: str, webhook_url: str) -> Asked:
    order = Order(project_id, [], "/v1/jobs/adopt")
    return Asked(order=order, fields={"interaction_id": "v1_x", "webhook_url": webhook_url}, is_admin=True)


@pytest.mark.parametrize("host", INSIDE)
def test_no_path_takes_an_address_inside(engine: Engine, hooks: Hooks, strict: Callable[..., Names], host: str) -> None:
    names = strict(["127.0.0.1"])
    context, project, inside = engine.context, engine.project_id, url(hooks, host)
    made = endpoints.create(context, project, {"url": "https://hooks.example/in"}).endpoint
    refused: list[Callable[[], Any]] = [
        lambda: endpoints.create(context, project, {"url": inside}),
        lambda: endpoints.change(context, project, made.id, {"url": inside}),
        lambda: engine.draft(webhook_url=inside),
        lambda: adopt.take_over(context, adoption(project, inside)),
        lambda: wish.read({"webhook_config": {"uris": [inside]}}, context.policy),
    ]

    for attempt in refused:
        with pytest.raises(Invalid) as refusal:
            attempt()
        assert {fault.pointer for fault in refusal.value.faults} <= PLACES
        assert "/inside" not in str(refusal.value)

    assert (names.asked, hooks.got) == (0, [])


@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "[::ffff:127.0.0.1]", "localhost", "0x7f.1"])
def test_a_row_that_names_an_address_inside_is_refused_when_it_is_sent(
    engine: Engine, hooks: Hooks, strict: Callable[..., Names], host: str
) -> None:
    strict(["127.0.0.1"])
    context, project = engine.context, engine.project_id
    made = endpoints.create(context, project, {"url": "https://hooks.example/in", "events": ["job.created"]}).endpoint
    engine.submit(webhook_url="https://hooks.example/own", webhook_events=["job.created"])
    with context.database.write() as session:
        session.execute(sa.update(WebhookEndpoint).values(url=url(hooks, host), host="inside"))
        session.execute(sa.update(Delivery).values(url=url(hooks, host), host="inside"))

    everything(engine, made.id)

    assert outcomes(engine) == {"refused"}
    assert hooks.got == []


def everything(engine: Engine, endpoint_id: str) -> None:
    """Delivery, ping, sending again and replay, one after the other."""
    context, project = engine.context, engine.project_id
    engine.deliver()
    endpoints.ping(context, project, endpoint_id)
    engine.deliver()
    for delivery in engine.rows(Delivery):
        deliver.again(context, project, delivery.id)
    engine.deliver()
    endpoints.replay(context, project, endpoint_id, {"since": "2020-01-01T00:00:00Z"})
    engine.deliver()
    assert len(engine.rows(DeliveryAttempt)) >= 8


def outcomes(engine: Engine) -> set[str]:
    return {attempt.outcome for attempt in engine.rows(DeliveryAttempt)}


@pytest.mark.parametrize(
    "answers",
    [
        [["127.0.0.1"]],
        [["::1"]],
        [[PUBLIC, "127.0.0.1"]],
        [["127.0.0.1", PUBLIC]],
        [["::ffff:127.0.0.1"]],
        [["127.0.0.1%lo"]],
    ],
)
def test_a_name_that_leads_inside_is_refused_on_every_path(
    engine: Engine, hooks: Hooks, strict: Callable[..., Names], answers: list[list[str]]
) -> None:
    names = strict(*answers)
    inside = url(hooks, "hooks.example")
    made = endpoints.create(engine.context, engine.project_id, {"url": inside, "events": ["job.created"]}).endpoint
    engine.submit(webhook_url=inside, webhook_events=["job.created"])

    everything(engine, made.id)

    assert outcomes(engine) == {"refused"}
    assert names.asked >= 8
    assert hooks.got == []


def test_a_name_that_changes_after_the_check_leads_nowhere_else(
    engine: Engine, hooks: Hooks, strict: Callable[..., Names]
) -> None:
    # Nobody listens at the address that is allowed; the one that the name has by then is the receiver's.
    names = strict(["127.0.0.2"], ["127.0.0.1"], policy=replace(STRICT, allow_networks=(ip_network("127.0.0.2/32"),)))
    inside = url(hooks, "rebind.example")
    endpoints.create(engine.context, engine.project_id, {"url": inside, "events": ["job.created"]})
    engine.submit()

    engine.deliver()
    assert names.asked == 1
    engine.clock.advance(6)
    engine.deliver()

    assert [attempt.outcome for attempt in engine.attempts()] == ["connect", "refused"]
    assert hooks.got == []


def test_a_redirect_inside_is_not_followed_from_an_endpoint(engine: Engine, hooks: Hooks) -> None:
    hooks.answers["/away"] = [Say(307, {"Location": hooks.url("/inside")})]
    made = endpoints.create(engine.context, engine.project_id, {"url": hooks.url("/away")}).endpoint

    endpoints.ping(engine.context, engine.project_id, made.id)
    engine.deliver()

    assert [attempt.http_status for attempt in engine.attempts()] == [307]
    assert hooks.of("/inside") == []
