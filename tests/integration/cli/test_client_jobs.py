import json
from collections.abc import Iterator

import pytest

from tests.integration.cli.conftest import Nightdesk, Service
from tests.waiting import eventually
from worker.cli.sheet import COLUMNS, USED

REPORT = "# Owls"
REFUSED = "http://127.0.0.1:1/hook"
"""A receiver that is not there."""


@pytest.fixture(scope="module")
def ended(service: Service) -> str:
    """The id of a completed job with a webhook that could not be delivered."""
    prompt = f"[[sim: text='{REPORT}']]"
    body = {"model": "gemini-3.8-flash", "input": prompt, "metadata": {"team": "owls"}, "webhook_url": REFUSED}
    job_id: str = service.post("/v1/jobs", body)["id"]
    eventually(lambda: service.job(job_id)["status"] == "completed")
    return job_id


@pytest.fixture
def running(nightdesk: Nightdesk, service: Service) -> Iterator[str]:
    """The id of a job that goes on for long."""
    job_id = nightdesk("submit", "[[sim: duration=6000]]").out.strip()
    eventually(lambda: service.job(job_id)["status"] == "in_progress")
    yield job_id
    service.cancel(job_id)


def test_a_list_for_programs_has_a_line_for_each_job(nightdesk: Nightdesk, ended: str) -> None:
    ran = nightdesk("jobs", "--limit", "100")

    rows = [dict(zip(COLUMNS, line.split("\t"), strict=True)) for line in ran.out.splitlines()]
    (found,) = [row for row in rows if row["ID"] == ended]
    assert (found["STATUS"], found["TARGET"], found["METADATA"]) == ("completed", "gemini-3.8-flash", "team=owls")


def test_what_was_used_is_summed_up(nightdesk: Nightdesk, service: Service, ended: str) -> None:
    by_job = nightdesk("usage", "--by", "job", "--from", "2026-01-01T00:00")
    by_day = nightdesk("usage", "--json")

    rows = [dict(zip(USED, line.split("\t"), strict=True)) for line in by_job.out.splitlines()]
    (found,) = [row for row in rows if row["GROUP"] == ended]
    total = service.job(ended)["usage"]["total_tokens"]
    assert (found["RUNS"], found["TOTAL"]) == ("1", str(total))
    assert sum(day["usage"]["total_tokens"] for day in json.loads(by_day.out)) >= total


def test_a_list_can_be_narrowed_by_status(nightdesk: Nightdesk, ended: str, running: str) -> None:
    found = nightdesk("jobs", "--status", "in_progress", "--status", "queued").out

    assert running in found
    assert ended not in found


def test_a_list_longer_than_a_page_is_whole(nightdesk: Nightdesk, service: Service) -> None:
    for _ in range(2):
        batch = [{"model": "gemini-3.8-flash", "input": "Later.", "run_at": "2099-01-01T00:00:00Z"}] * 60
        service.post("/v1/jobs/batch", {"jobs": batch})

    found = json.loads(nightdesk("jobs", "--status", "scheduled", "--limit", "120", "--json").out)

    assert len({job["id"] for job in found}) == 120


def test_an_unknown_status_is_told(nightdesk: Nightdesk) -> None:
    ran = nightdesk("jobs", "--status", "asleep")

    assert ran.code == 1
    assert "/status" in ran.err


def test_a_job_is_shown_with_its_deliveries_and_their_attempts(
    nightdesk: Nightdesk, service: Service, ended: str
) -> None:
    eventually(lambda: service.get(f"/v1/jobs/{ended}/deliveries")["data"][0]["attempt_count"])

    shown = nightdesk("show", ended).out

    facts = dict(line.split(None, 1) for line in shown.splitlines() if not line.startswith(" "))
    assert (facts["job"], facts["status"], facts["metadata"]) == (ended, "completed", "team=owls")
    assert facts["output"] == f"{len(REPORT)} characters: nightdesk show {ended} --report"
    assert facts["delivery"].startswith("job.completed pending")
    assert facts["delivery"].endswith(REFUSED)
    assert "1. " in shown
    assert "connect" in shown


def test_a_failed_job_is_shown_with_its_error(nightdesk: Nightdesk, service: Service) -> None:
    prompt = "[[sim: status=failed code=internal_error message='no such owl']]"
    job_id = nightdesk("submit", prompt).out.strip()
    service.job(job_id, wait_s=20)

    shown = nightdesk("show", job_id).out

    assert "\nerror       upstream_failed: " in shown
    assert "no such owl" in shown


def test_a_substituted_model_is_shown(nightdesk: Nightdesk) -> None:
    job_id = nightdesk("submit", "Hi", "--model", "gemini-2.5-flash").out.strip()

    assert "replaced    gemini-2.5-flash by gemini-3.8-flash: " in nightdesk("show", job_id).out


def test_a_report_is_shown_as_it_is(nightdesk: Nightdesk, ended: str) -> None:
    assert nightdesk("show", ended, "--report").out == f"{REPORT}\n"


def test_the_steps_are_shown_when_asked_for(nightdesk: Nightdesk, ended: str) -> None:
    assert "model_output" not in nightdesk("show", ended).out
    assert f"model_output: {REPORT}\n" in nightdesk("show", ended, "--steps").out


def test_json_is_what_the_api_gives(nightdesk: Nightdesk, service: Service, ended: str) -> None:
    assert json.loads(nightdesk("show", ended, "--json").out) == service.job(ended)


@pytest.mark.parametrize("command", ["show", "watch", "cancel"])
@pytest.mark.parametrize("job_id", ["job_nobody", "../webhook-secret", "job_a?wait=60"])
def test_an_unknown_id_is_told(nightdesk: Nightdesk, command: str, job_id: str) -> None:
    ran = nightdesk(command, job_id)

    assert ran.code == 1
    assert "(not_found)" in ran.err


def test_watching_an_ended_job_ends_at_once(nightdesk: Nightdesk, ended: str) -> None:
    ran = nightdesk("watch", ended)

    assert ran.code == 0
    assert ran.out.splitlines()[-1].startswith(f"{ended} completed after ")


def test_watching_tells_each_change_in_a_line(nightdesk: Nightdesk) -> None:
    job_id = nightdesk("submit", "[[sim: duration=5]]").out.strip()

    told = nightdesk("watch", job_id).out.splitlines()

    assert len(set(told)) == len(told)
    assert told[-2].partition(" ")[2] == "completed, turn 1, attempt 1"


def test_a_running_job_is_cancelled(nightdesk: Nightdesk, service: Service, running: str) -> None:
    ran = nightdesk("cancel", running)

    assert (ran.code, ran.out) == (0, f"{running} cancelling\n")
    assert service.job(running, wait_s=20)["status"] == "cancelled"


def test_watching_a_cancelled_job_fails_the_command(nightdesk: Nightdesk, running: str) -> None:
    nightdesk("cancel", running)

    ran = nightdesk("watch", running)

    assert ran.code == 1
    assert f"{running} cancelled after " in ran.out


def test_a_finished_job_cannot_be_cancelled(nightdesk: Nightdesk, ended: str) -> None:
    ran = nightdesk("cancel", ended)

    assert ran.code == 1
    assert "(conflict)" in ran.err
