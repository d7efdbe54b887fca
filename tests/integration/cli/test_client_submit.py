import json
import time
from pathlib import Path

import pytest

from tests.integration.cli.conftest import Nightdesk, Service
from tests.integration.cli.lossy import Lossy
from worker.cli.submission import MODEL

CALL = [{"type": "function", "name": "weather", "description": "…", "parameters": {"type": "object"}}]


def test_the_id_is_all_that_goes_to_stdout(nightdesk: Nightdesk, service: Service) -> None:
    ran = nightdesk("submit", "Name three owls.")

    assert (ran.code, ran.err) == (0, "")
    assert service.job(ran.out.removesuffix("\n"))["model"] == MODEL


def test_every_option_reaches_the_job(nightdesk: Nightdesk) -> None:
    first = nightdesk("submit", "Name three owls.").out.strip()
    options = ("--agent", "deep-research-preview-04-2026", "--priority", "high")
    more = ("--metadata", "team=a", "--metadata", "note=x=y", "--webhook-url", "http://127.0.0.1:9/hook")

    job = json.loads(nightdesk("submit", "Go on.", *options, *more, "--previous", first, "--json").out)

    assert (job["agent"], job["model"], job["priority"]) == ("deep-research-preview-04-2026", None, "high")
    assert job["metadata"] == {"team": "a", "note": "x=y"}
    assert (job["webhook_url"], job["previous_job_id"]) == ("http://127.0.0.1:9/hook", first)


def test_a_time_without_an_offset_is_one_of_this_machines_clock(
    nightdesk: Nightdesk, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "UTC-2")
    time.tzset()

    job_id = nightdesk("submit", "Later.", "--run-at", "2099-12-24T18:00").out.strip()

    monkeypatch.undo()
    time.tzset()
    job = service.job(job_id)
    assert (job["status"], job["run_at"]) == ("scheduled", "2099-12-24T16:00:00.000Z")


def test_options_stand_above_the_file(nightdesk: Nightdesk, service: Service, tmp_path: Path) -> None:
    body = {"agent": "deep-research-preview-04-2026", "input": "One?", "metadata": {"from": "file"}, "priority": "low"}
    path = tmp_path / "body.json"
    path.write_text(json.dumps(body))

    ran = nightdesk("submit", "--file", str(path), "--model", "gemini-3.8-flash", "--priority", "high")

    job = service.get(f"/v1/jobs/{ran.out.strip()}?include=input")
    assert (job["model"], job["agent"], job["priority"]) == ("gemini-3.8-flash", None, "high")
    assert (job["metadata"], job["input"]) == ({"from": "file"}, "One?")


def test_a_body_may_come_from_stdin(nightdesk: Nightdesk, service: Service) -> None:
    ran = nightdesk("submit", "--file", "-", stdin='{"agent": "deep-research-preview-04-2026", "input": "Two?"}')

    assert service.job(ran.out.strip())["agent"] == "deep-research-preview-04-2026"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["submit"], "needs a prompt"),
        (["submit", "Hi", "--model", "a", "--agent", "b"], "exclude each other"),
        (["submit", "Hi", "--metadata", "plain"], "is not KEY=VALUE"),
        (["submit", "Hi", "--run-at", "tomorrow"], "is not a time"),
        (["submit", "--file", "missing.json"], "missing.json"),
        (["submit", "--file", "-"], "is not JSON"),
        (["submit", "Hi", "--priority", "urgent"], "urgent"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_sent(bare: Nightdesk, words: list[str], said: str) -> None:
    ran = bare(*words)

    assert ran.code == 2
    assert said in ran.err


def test_waiting_gives_the_report_and_nothing_else(nightdesk: Nightdesk, service: Service) -> None:
    ran = nightdesk("submit", "[[sim: text='# Owls']]", "--wait")

    job_id = ran.err.splitlines()[0]
    assert (ran.code, ran.out) == (0, "# Owls\n")
    assert f"{job_id} completed after" in ran.err
    assert service.job(job_id)["status"] == "completed"


def test_waiting_with_json_gives_the_ended_job(nightdesk: Nightdesk) -> None:
    ran = nightdesk("submit", "[[sim: text='# Owls']]", "--wait", "--json")

    assert ran.code == 0
    assert json.loads(ran.out)["output_text"] == "# Owls"


def test_a_job_that_did_not_complete_fails_the_command(nightdesk: Nightdesk) -> None:
    prompt = "[[sim: status=failed code=internal_error message='no such owl']]"

    ran = nightdesk("submit", prompt, "--wait")

    assert (ran.code, ran.out) == (1, "")
    assert "upstream_failed" in ran.err
    assert "no such owl" in ran.err


def test_a_job_that_needs_an_action_is_not_waited_for(nightdesk: Nightdesk) -> None:
    body = {"model": "gemini-3.8-flash", "input": "[[sim: calls=1]]", "tools": CALL}

    ran = nightdesk("submit", "--file", "-", "--wait", stdin=json.dumps(body))

    assert ran.code == 1
    assert "requires_action" in ran.err
    assert "weather(" in ran.err


def test_a_timeout_is_what_the_service_takes_for_one(nightdesk: Nightdesk) -> None:
    ran = nightdesk("submit", "Hi", "--timeout", "90000")

    assert ran.code == 1
    assert "\n  /timeout_seconds: " in ran.err


def test_one_key_submits_one_job(nightdesk: Nightdesk) -> None:
    submitted = [nightdesk("submit", "Once.", "--idempotency-key", "the-same").out for _ in range(2)]

    assert submitted[0] == submitted[1] != ""


def test_lost_answers_do_not_buy_a_second_job(nightdesk: Nightdesk, service: Service, lossy: Lossy) -> None:
    nightdesk.set(NIGHTDESK_URL=lossy.url)
    lossy.losses["POST"] = 1

    ran = nightdesk("submit", "Lost.", "--metadata", "case=lost")

    found = service.get("/v1/jobs?metadata[case]=lost")["data"]
    assert [job["id"] for job in found] == [ran.out.strip()]
    assert len(lossy.keys) == 2
    assert lossy.keys[0] == lossy.keys[1] is not None


def test_a_wait_outlives_a_lost_answer(nightdesk: Nightdesk, lossy: Lossy) -> None:
    nightdesk.set(NIGHTDESK_URL=lossy.url)
    lossy.losses["GET"] = 1

    ran = nightdesk("submit", "[[sim: text='# Owls']]", "--wait")

    assert (ran.code, ran.out, lossy.losses["GET"]) == (0, "# Owls\n", 0)


def test_who_loses_every_answer_learns_how_to_find_out(nightdesk: Nightdesk, lossy: Lossy) -> None:
    nightdesk.set(NIGHTDESK_URL=lossy.url)
    lossy.losses["POST"] = 99

    ran = nightdesk("submit", "Lost.")

    assert (ran.code, ran.out) == (1, "")
    assert f"--idempotency-key {lossy.keys[0]}" in ran.err


def test_every_fault_is_shown_with_its_place(nightdesk: Nightdesk) -> None:
    body = {"input": "Hi", "temperature": 1, "priority": "urgent", "metadata": {"a": 1}}

    ran = nightdesk("submit", "--file", "-", stdin=json.dumps(body))

    assert ran.code == 1
    assert "(invalid_request)" in ran.err
    assert all(f"\n  {pointer}: " in ran.err for pointer in ("/temperature", "/priority", "/metadata/a"))
