"""The worker's and Flower's processes: what each is started with."""

import os
import sys
from collections.abc import Collection

from celery import signals

from worker import app as celery_app
from worker import context as contexts
from worker import heap, retired, telemetry, ticker
from worker.app import QUEUES
from worker.errors import SettingsError
from worker.settings import Settings
from worker.tasks import Shares, register
from worker.telemetry import log

SWITCH_S = 0.002
"""How long one thread may keep the interpreter from others: a transaction gives it away at each statement, and while it
waits to have it back, by default 5 ms, it keeps SQLite's one lock from all processes."""

BROKEN_EXIT = 1
"""Exit status of a worker that ended unasked; Celery would let it end as if all were well."""


def run_worker(settings: Settings, queues: Collection[str], concurrency: int) -> None:
    """Work until told to stop, from all queues where none is named.

    Raises SettingsError for an unknown queue, SystemExit where Celery gave up.
    """
    chosen = frozenset(queues) or frozenset(QUEUES.values())
    if unknown := chosen - set(QUEUES.values()):
        raise SettingsError(f"no such queue: {', '.join(sorted(unknown))}; there are {', '.join(QUEUES.values())}")
    heap.prepare()
    sys.setswitchinterval(SWITCH_S)
    telemetry.set_up(settings.log_format, settings.log_level)
    context = contexts.build(settings)
    shares = Shares(concurrency)
    app = celery_app.build(settings)
    register(app, context, shares)
    ticker.install(app, context, shares.activity, chosen)
    _warm(context)

    @signals.worker_shutting_down.connect(weak=False)
    def _leave(**_: object) -> None:
        context.leaving.set()

    try:
        app.worker_main(
            [
                "worker",
                "--pool=threads",
                f"--concurrency={concurrency}",
                f"--queues={','.join(sorted(chosen))}",
                f"--hostname=nightdesk.{os.getpid()}@%h",
                "--without-mingle",
                "--without-gossip",
                f"--loglevel={settings.log_level}",
            ]
        )
    finally:
        context.close()
    if not context.leaving.is_set():
        sys.exit(BROKEN_EXIT)


def _warm(context: contexts.Context) -> None:
    """Import the SDK, open connections, send a first message: otherwise the first jobs pay for it."""
    answer = context.gemini.warm()
    context.sender.backlog(celery_app.POLL)
    if doubts := retired.doubts(context.catalog, context.database):
        log.warning("catalog", outcome="retired_ids", told=doubts)
    heap.settle()
    log.info("worker", outcome="ready", key_works=answer.key_works)


def run_flower(settings: Settings, host: str, port: int) -> None:
    """Show queues and tasks, read only; raises SettingsError without a user and password."""
    auth = settings.flower_basic_auth.get_secret_value()
    if ":" not in auth:
        raise SettingsError("NIGHTDESK_FLOWER_BASIC_AUTH: must be set, as user:password")
    telemetry.set_up(settings.log_format, settings.log_level)
    _close_metrics()
    # By environment: a command line is readable by everyone on the machine.
    os.environ["FLOWER_BASIC_AUTH"] = auth
    celery_app.build(settings).start(
        [
            "flower",
            f"--address={host}",
            f"--port={port}",
            "--read-only",
            "--max-tasks=20000",
            "--max-workers=200",
            "--purge-offline-workers=300",
            "--enable-events",
        ]
    )


def _close_metrics() -> None:
    """Ask for user and password there as everywhere else in Flower, which leaves its metrics open to anybody."""
    # The command loads these two in any case; a worker needs neither.
    from flower.views.monitor import Metrics  # noqa: PLC0415
    from tornado.web import authenticated  # noqa: PLC0415

    Metrics.get = authenticated(Metrics.get)
