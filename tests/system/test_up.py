"""`nightdesk up`: ready within seconds, useful from its banner on, and gone without a trace."""

import base64
import re
import shlex
import signal
import socket
import stat
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.stack import free_port
from tests.system.stack import START_S, Stack, start
from tests.waiting import PATIENCE_S, eventually

PROMPT = "Name three owls."


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("up"), "--workers=2") as running:
        yield running


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def received(stack: Stack, job_id: str) -> set[str]:
    events = stack.call(f"{stack.receiver}/events.json")["events"]
    return {event["type"] for event in events if event["job_id"] == job_id and event["verified"]}


def verified(stack: Stack) -> set[str]:
    return {event["event_id"] for event in stack.call(f"{stack.receiver}/events.json")["events"] if event["verified"]}


def refusal(folder: Path, *options: str, **variables: str) -> tuple[int, str]:
    status = start(folder, *options, **variables).wait(START_S)
    return status, (folder / "err").read_text().strip()


def test_every_url_of_the_banner_answers(stack: Stack) -> None:
    assert f"API        {stack.api} " in stack.banner
    assert answers(f"{stack.api}/healthz")
    assert answers(f"{stack.api}/docs")
    assert answers(stack.receiver)
    assert f"http://127.0.0.1:{stack.flower_port} " in stack.banner


@pytest.mark.parametrize("path", ["/", "/api/workers", "/metrics"])
def test_flower_wants_the_password_of_the_banner(stack: Stack, path: str) -> None:
    url = f"http://127.0.0.1:{stack.flower_port}{path}"
    given = re.search(r"\(user (\S+), password (\S+)\)", stack.banner)
    assert given is not None
    pair = base64.b64encode(":".join(given.groups()).encode()).decode()

    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(url, timeout=PATIENCE_S)
    asked = urllib.request.Request(url, headers={"Authorization": f"Basic {pair}"})
    with urllib.request.urlopen(asked, timeout=PATIENCE_S) as let_in:
        status = let_in.status

    refused.value.close()
    assert (refused.value.code, status) == (401, 200)


def test_the_curl_of_the_banner_submits_a_deep_research_job(stack: Stack) -> None:
    pasted = stack.banner[stack.banner.index("  curl ") :].partition("\n\n")[0]
    words = shlex.split(pasted)
    url, data = words[2], words[words.index("-d") + 1]

    job = stack.call(url, data.encode())

    assert f"Authorization: Bearer {stack.key}" in words
    assert job["agent"].startswith("deep-research")
    assert job["webhook_url"].startswith(stack.receiver)


def test_a_job_is_done_and_its_verified_webhook_arrives(stack: Stack) -> None:
    body = {"model": "gemini-3.5-flash-lite", "input": PROMPT, "webhook_url": f"{stack.receiver}/hook"}

    job = stack.post("/v1/jobs", body)

    eventually(lambda: received(stack, job["id"]) == {"job.completed"}, what="the webhook")


def test_what_a_registered_endpoint_is_sent_is_verified_too(stack: Stack) -> None:
    endpoint = stack.post("/v1/webhooks", {"url": f"{stack.receiver}/hook", "events": ["endpoint.disabled"]})

    ping = stack.post(f"/v1/webhooks/{endpoint['id']}/ping", {})

    eventually(lambda: ping["event_id"] in verified(stack), what="the ping")


def test_no_secret_is_on_a_command_line_or_in_a_log(stack: Stack) -> None:
    kept = dict(line.split("=", 1) for line in (stack.folder / ".nightdesk/secrets.env").read_text().splitlines()[1:])
    password = kept["NIGHTDESK_FLOWER_BASIC_AUTH"].partition(":")[2]
    secrets = [password, kept["NIGHTDESK_ENCRYPTION_KEY"], stack.key]
    shown = [" ".join(part.cmdline()) for part in stack.living]
    shown += [log.read_text() for log in (stack.folder / ".nightdesk/logs").glob("*.log")]

    assert [secret for secret in secrets for text in shown if secret in text] == []


def test_what_it_keeps_is_its_owners_alone(stack: Stack) -> None:
    folder = stack.folder / ".nightdesk"

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "secrets.env").stat().st_mode) == 0o600
    assert stat.S_IMODE((folder / "running.env").stat().st_mode) == 0o600


def test_a_second_one_on_the_same_data_is_refused(stack: Stack, tmp_path: Path) -> None:
    status, said = refusal(tmp_path, f"--data-dir={stack.folder / '.nightdesk'}", f"--port={free_port()}")

    assert status == 2
    assert said.endswith(f"is in use by another running Nightdesk (process {stack.process.pid})")


@pytest.mark.parametrize("option", ["--port", "--flower-port"])
def test_a_port_in_use_is_named_with_its_option(tmp_path: Path, option: str) -> None:
    ports = {"--port": free_port(), "--flower-port": free_port()}

    with socket.create_server(("127.0.0.1", ports[option])):
        status, said = refusal(tmp_path, *(f"{name}={port}" for name, port in ports.items()))

    assert status == 2
    assert said == (
        f"nightdesk: cannot listen on 127.0.0.1 port {ports[option]}: it is in use; choose another with {option}"
    )


def test_a_bad_setting_is_one_line(tmp_path: Path) -> None:
    status, said = refusal(tmp_path, NIGHTDESK_REDIS_URI="redis://127.0.0.1")

    assert (status, said) == (2, "nightdesk: unknown setting NIGHTDESK_REDIS_URI; did you mean NIGHTDESK_REDIS_URL?")


def test_a_real_key_meets_the_simulator_only_when_that_is_asked_for(tmp_path: Path) -> None:
    with Stack(tmp_path, "--simulator", GEMINI_API_KEY="a key that costs money") as stack:
        seen = [part.environ() for part in stack.living]

        assert "nothing is billed" in stack.banner
        assert not any("a key that costs money" in environment.values() for environment in seen)


def ends_cleanly(stack: Stack, number: signal.Signals) -> bool:
    """Whether one signal stops everything, and leaves nothing that would mislead the next command."""
    stack.parts = psutil.Process(stack.process.pid).children(recursive=True)
    return stack.stop(number) == 0 and not stack.living and not (stack.folder / ".nightdesk/running.env").exists()


def test_a_part_that_dies_is_started_again_and_one_ctrl_c_stops_everything(tmp_path: Path) -> None:
    with Stack(tmp_path) as stack:
        api, worker = stack.part("-m", "api"), stack.part("worker.cli", "worker")

        api.kill()
        worker.kill()

        eventually(lambda: "api was ended by signal 9" in stack.told and "worker-1" in stack.told)
        eventually(lambda: answers(f"{stack.api}/healthz"), what="the API")
        body = {"model": "gemini-3.5-flash-lite", "input": PROMPT, "webhook_url": f"{stack.receiver}/hook"}
        job = stack.post("/v1/jobs", body)
        eventually(lambda: received(stack, job["id"]) == {"job.completed"}, what="the webhook")

        assert ends_cleanly(stack, signal.SIGINT)


def test_killed_it_takes_its_parts_along_and_starts_again_with_the_same_key(tmp_path: Path) -> None:
    with Stack(tmp_path) as stack:
        key = stack.key
        body = {"model": "gemini-3.5-flash-lite", "input": PROMPT, "webhook_url": f"{stack.receiver}/hook"}
        job = stack.post("/v1/jobs", body)

        stack.process.kill()
        stack.process.wait()
        eventually(lambda: not stack.living, what="the end of the parts")

    with Stack(tmp_path) as again:
        assert again.key == key
        link = f"{again.api}/v1/jobs/{job['id']}"
        eventually(lambda: again.call(link)["status"] == "completed", within_s=START_S, what="the job of before")

        assert ends_cleanly(again, signal.SIGTERM)
