"""`nightdesk gemini-webhook`: registering with the Gemini API, as the simulator plays it."""

import pytest
from standardwebhooks import Webhook

from tests.integration.cli.conftest import Nightdesk
from tests.integration.simulator.conftest import client_of
from worker.dev.simulator import SimulatorServer
from worker.gemini.registration import EVENTS

URL = "https://desk.example/v1/upstream/gemini"
COMMAND = "gemini-webhook"


@pytest.fixture
def registering(bare: Nightdesk, simulator: SimulatorServer) -> Nightdesk:
    bare.set(
        NIGHTDESK_GEMINI_API_KEY="simulated",
        NIGHTDESK_GEMINI_BASE_URL=simulator.url,
        NIGHTDESK_PUBLIC_URL="https://desk.example/",
    )
    return bare


def test_registering_prints_the_secret_once(registering: Nightdesk, simulator: SimulatorServer) -> None:
    first, second = registering(COMMAND, "register"), registering(COMMAND, "register")

    assert (first.code, second.code) == (0, 0)
    Webhook(first.out.strip())
    assert first.out.startswith("whsec_")
    assert "NIGHTDESK_GEMINI_WEBHOOK_SECRETS" in first.err
    assert "whsec_" not in second.out + second.err
    with client_of(simulator.url) as client:
        (hook,) = client.webhooks.list().webhooks
    assert (hook.uri, tuple(hook.subscribed_events)) == (URL, EVENTS)


def test_the_status_tells_what_is_registered(registering: Nightdesk, simulator: SimulatorServer) -> None:
    missing = registering(COMMAND, "status")
    secret = registering(COMMAND, "register").out.strip()

    shown = registering(COMMAND, "status")

    assert (missing.code, missing.out) == (1, "")
    assert "gemini-webhook register" in missing.err
    assert shown.code == 0
    assert "enabled" in shown.out
    assert f"secret: ...{secret[-4:]}  live" in shown.out
    assert secret not in shown.out
    with client_of(simulator.url) as client:
        (hook,) = client.webhooks.list().webhooks
        client.webhooks.update(hook.id, state="disabled_due_to_failed_deliveries")
    assert registering(COMMAND, "status").code == 1
    assert registering(COMMAND, "register").code == 0
    assert registering(COMMAND, "status").code == 0


@pytest.mark.parametrize(("options", "live"), [((), 2), (("--at-once",), 1)])
def test_a_rotation_prints_a_new_secret(registering: Nightdesk, options: tuple[str, ...], live: int) -> None:
    assert registering(COMMAND, "rotate").code == 1
    old = registering(COMMAND, "register").out

    new = registering(COMMAND, "rotate", *options)

    assert new.out.startswith("whsec_")
    assert new.out != old
    assert registering(COMMAND, "status").out.count("secret: ") == live


def test_without_an_address_nothing_is_registered(registering: Nightdesk, simulator: SimulatorServer) -> None:
    registering.set(NIGHTDESK_PUBLIC_URL="")

    ended = registering(COMMAND, "register")

    assert (ended.code, ended.out) == (2, "")
    assert "NIGHTDESK_PUBLIC_URL" in ended.err
    assert "webhooks" not in simulator.control.stats()["calls"]


def test_an_upstream_that_refuses_or_is_away_is_told_in_one_line(registering: Nightdesk) -> None:
    registering.set(NIGHTDESK_GEMINI_BASE_URL="http://127.0.0.1:1")

    ended = registering(COMMAND, "status")

    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("nightdesk: the Gemini API did not answer")
    assert ended.err.count("\n") == 1
