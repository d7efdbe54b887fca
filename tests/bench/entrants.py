"""Who runs in a race: Nightdesk, the plain programs beside it, and the floor. Each starts its processes in a stack."""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx2

from tests.bench import load
from tests.bench.ground import BODY
from tests.stack import Stack
from tests.waiting import eventually

API = ("-m", "uvicorn", "tests.bench.peers.plain_api:build", "--factory", "--log-level=warning")
PREFORK, THREADS = 8, 200
"""Processes of a prefork worker, each of 60 MiB; threads of a thread worker, which cost less."""

Begin = Callable[[Stack, str, int], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Entrant:
    """`prepare` starts what is not there yet, before the clock; `begin` submits so many jobs with this webhook."""

    name: str
    prepare: Callable[[Stack], None]
    begin: Begin
    is_ours: bool = False


def _nothing(_stack: Stack) -> None:
    """The stack has started everything."""


async def _submit(stack: Stack, hook: str, jobs: int) -> None:
    one = load.request(f"{stack.url}/v1/jobs", stack.headers, {**BODY, "webhook_url": hook})
    await load.post(stack.url, [one] * jobs)


async def _start_floor(stack: Stack, hook: str, jobs: int) -> None:
    command = [sys.executable, "-m", "tests.bench.peers.floor", stack.simulator_url, hook, str(jobs)]
    stack.spawn("worker-0", command, here())
    await asyncio.sleep(0)


def here() -> dict[str, str]:
    """The environment in which a program finds this package wherever it is started."""
    return {"PYTHONPATH": ":".join(sys.path)}


def environment(stack: Stack) -> dict[str, str]:
    """What tells a plain program where the rest is."""
    database = stack.settings.database
    return {
        "PEER_DATABASE_URL": database.replace("nightdesk.db", "plain.db"),
        "PEER_REDIS_URL": stack.redis.url,
        "PEER_UPSTREAM_URL": stack.simulator_url,
        **here(),
    }


def start_api(stack: Stack, port: int | None = None) -> None:
    """Start the plain API, on the stack's own port unless another is given."""
    port = port or stack.api_port
    stack.spawn("api-plain", [sys.executable, *API, f"--port={port}"], environment(stack))
    eventually(partial(_answers, f"http://127.0.0.1:{port}/docs"), within_s=30, what="the plain API's start")


def start_worker(program: str, *options: str, stack: Stack) -> None:
    """Start a plain worker."""
    command = [sys.executable, "-m", "celery", "-A", f"tests.bench.peers.{program}", "worker"]
    stack.spawn("worker-plain", [*command, *options], environment(stack))
    log = stack.folder / "worker-plain.log"
    eventually(lambda: b"takes tasks" in log.read_bytes(), within_s=30, what="the plain worker's start")


def _plain(program: str, *options: str) -> Callable[[Stack], None]:
    def prepare(stack: Stack) -> None:
        start_api(stack)
        start_worker(program, *options, stack=stack)

    return prepare


def _answers(url: str) -> bool:
    try:
        return httpx2.get(url, timeout=2).status_code == 200
    except httpx2.HTTPError:
        return False


OURS = Entrant("Nightdesk", _nothing, _submit, is_ours=True)
FLOOR = Entrant("floor: bare asyncio + aiohttp", _nothing, _start_floor)
COUNTDOWN = Entrant(f"Celery countdown, prefork -c {PREFORK}", _plain("countdown", f"--concurrency={PREFORK}"), _submit)
LOOP_THREADS = Entrant(
    f"Celery loop, threads -c {THREADS}", _plain("loop", "--pool=threads", f"--concurrency={THREADS}"), _submit
)
LOOP_PREFORK = Entrant(f"Celery loop, prefork -c {PREFORK}", _plain("loop", f"--concurrency={PREFORK}"), _submit)
