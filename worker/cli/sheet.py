"""A job in words: one line while it runs, a row of a list, and everything there is to know about it. Pure functions."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from worker.cli.text import clock, line, plain, seconds_between, span
from worker.states import TERMINAL

Job = Mapping[str, Any]
Lines = list[str]

COLUMNS = ("ID", "STATUS", "TARGET", "CREATED", "TOOK", "METADATA")
USED = ("GROUP", "RUNS", "INPUT", "CACHED", "OUTPUT", "THOUGHT", "TOOL USE", "TOTAL")
KINDS = ("input_tokens", "cached_tokens", "output_tokens", "thought_tokens", "tool_use_tokens", "tokens")
WIDTH = 12


def target(job: Job) -> str:
    """The model or agent."""
    return line(job.get("agent") or job.get("model"))


def progress(job: Job, latest: str = "") -> str:
    """Status, turn, attempt and, while it runs, the latest known of it: a thought unless there is something newer."""
    parts = [line(job["status"]), f"turn {job['turn']}", f"attempt {job['attempt']}"]
    if job["status"] == "scheduled" and job.get("run_at"):
        parts.append(f"until {clock(job['run_at'])}")
    told = "" if job["status"] in TERMINAL else latest or job["progress"].get("thought")
    return ", ".join(parts) + (f": {line(told)}" if told else "")


def ending(job: Job) -> str:
    """How it ended, or what it waits for."""
    took = f" after {span(seconds_between(job['created_at'], job['finished_at']))}" if job.get("finished_at") else ""
    return f"{line(job['id'])} {line(job['status'])}{took}"


def row(job: Job, now: datetime) -> tuple[str, ...]:
    """The cells of a list, by COLUMNS."""
    took = span(seconds_between(job["created_at"], job.get("finished_at") or now))
    return (line(job["id"]), line(job["status"]), target(job), clock(job["created_at"]), took, _pairs(job["metadata"]))


def used(group: Mapping[str, Any]) -> tuple[str, ...]:
    """The cells of a list of sums, by USED."""
    name = "" if group["group"] is None else line(group["group"])
    return (name, str(group["interactions"]), *(str(group["usage"][f"total_{kind}"]) for kind in KINDS))


def sheet(job: Job, deliveries: Sequence[Mapping[str, Any]] = ()) -> Lines:
    """Everything readable about a job but its output and steps."""
    return [
        *_facts(_course(job)),
        *_facts(_outcome(job)),
        *_listed("note", job["notes"]),
        *_listed("replaced", (f"{one['from']} by {one['to']}: {one['reason']}" for one in job["substitutions"])),
        *_listed("citation", (f"{one.get('title') or ''} {one.get('url') or ''}" for one in job["citations"])),
        *_listed("artifact", (_artifact(one) for one in job["artifacts"])),
        *needed(job),
        *trouble(job),
        *(told for delivery in deliveries for told in _delivery(delivery)),
    ]


def trouble(job: Job) -> Lines:
    """Its error, if it has one."""
    error = job.get("error")
    if not error:
        return []
    again = "; it may be tried again" if error.get("retryable") else ""
    told = _facts([("error", f"{line(error['code'])}: {plain(error['message'])}{again}")])
    if upstream := error.get("upstream"):
        said = " ".join(str(upstream[name]) for name in ("status", "code", "message") if upstream.get(name))
        told += _facts([("upstream", plain(said))])
    return told


def needed(job: Job) -> Lines:
    """The function calls whose results it waits for."""
    calls = (job.get("required_action") or {}).get("function_calls") or ()
    return _listed("needs", (f"{one['id']} {one['name']}({json.dumps(one.get('arguments'))})" for one in calls))


def steps(found: Iterable[Mapping[str, Any]]) -> Lines:
    """The steps of its interaction, each in short."""
    return [f"{number:>4}  {line(step.get('type'))}: {_gist(step)}" for number, step in enumerate(found, 1)]


def _course(job: Job) -> list[tuple[str, str]]:
    progress = job["progress"]
    polled = f"{progress['polls']} times, last {clock(progress['last_polled_at'])}" if progress["polls"] else ""
    finished = clock(job["finished_at"])
    if finished:
        finished += f", after {span(seconds_between(job['created_at'], job['finished_at']))}"
    return [
        ("job", line(job["id"])),
        ("status", line(job["status"])),
        ("agent" if job.get("agent") else "model", target(job)),
        ("turn", f"{job['turn']}, attempt {job['attempt']}"),
        ("priority", line(job["priority"])),
        ("created", clock(job["created_at"])),
        ("run at", clock(job["run_at"])),
        ("started", clock(job["started_at"])),
        ("cancelled", f"asked for {clock(job['cancel_requested_at'])}" if job["cancel_requested_at"] else ""),
        ("finished", finished),
        ("deadline", "" if finished else clock(job["deadline_at"])),
        ("polled", polled),
        ("thought", line(progress["thought"] or "")),
    ]


def _outcome(job: Job) -> list[tuple[str, str]]:
    text = job.get("output_text")
    return [
        ("output", f"{len(text):,} characters: nightdesk show {line(job['id'])} --report" if text else ""),
        ("kept until", clock(job["result_expires_at"])),
        ("usage", _pairs(job["usage"] or {})),
        ("metadata", _pairs(job["metadata"])),
        ("labels", _pairs(job["labels"])),
        ("webhook", line(job["webhook_url"] or "", 2048)),
        ("follows", line(job["previous_job_id"] or "")),
        ("retry of", line(job["retry_of"] or "")),
        ("interaction", line(job["interaction_id"] or "")),
    ]


def _delivery(delivery: Mapping[str, Any]) -> Lines:
    head = f"{delivery['event_type']} {delivery['status']} {delivery['id']} to {delivery['url']}"
    coming = delivery.get("next_attempt_at") if delivery["status"] == "pending" else None
    told = _facts([("delivery", line(head, 500)), ("", f"next attempt {clock(coming)}" if coming else "")])
    for attempt in delivery.get("attempts") or ():
        seen = " ".join(str(attempt[name]) for name in ("outcome", "status", "error") if attempt.get(name))
        took_ms = round(1000 * (attempt.get("latency_seconds") or 0))
        told += _facts([("", f"{attempt['number']}. {clock(attempt['at'])} {line(seen)} in {took_ms} ms")])
    return told


def _artifact(one: Mapping[str, Any]) -> str:
    return f"{one['id']} {one['kind']} {one['mime_type']} {one['size']:,} bytes {one['url']}"


def _gist(step: Mapping[str, Any]) -> str:
    texts = [text for name in ("content", "summary", "result") for text in _texts(step.get(name))]
    rest = {name: value for name, value in step.items() if name in {"name", "arguments", "status"}}
    return line(" ".join(texts) or (json.dumps(rest, ensure_ascii=False) if rest else ""))


def _texts(part: object) -> Iterable[str]:
    if isinstance(part, str):
        yield part
    for item in part if isinstance(part, list) else ():
        if isinstance(item, dict) and isinstance(item.get("text"), str):
            yield item["text"]


def _pairs(values: Mapping[str, Any]) -> str:
    return line(" ".join(f"{name}={value}" for name, value in values.items() if not isinstance(value, (list, dict))))


def _facts(facts: Iterable[tuple[str, str]]) -> Lines:
    return [f"{name:<{WIDTH}}{value}" for name, value in facts if value]


def _listed(name: str, items: Iterable[str]) -> Lines:
    return _facts((name, line(item, 500)) for item in items)
