"""Celery's home: the app of workers and Flower, and the sender of wake-ups with its breaker.

A message is a wake-up that may be lost, doubled or late: sending never raises and costs at most a few hundred ms.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

import redis
from celery import Celery
from kombu import Producer
from kombu.exceptions import KombuError

from worker.errors import SettingsError
from worker.notify import CHANNEL, message
from worker.settings import Settings
from worker.telemetry import count, log

START, POLL, CANCEL, DELIVER = "job.start", "job.poll", "job.cancel", "webhook.deliver"
QUEUES = {START: "start", POLL: "poll", CANCEL: "control", DELIVER: "deliver"}

SEND_TIMEOUT_S = 0.3
BREAKER_S = 5.0
FAILURES = (redis.RedisError, KombuError, OSError)


def build(settings: Settings, *, sends: bool = False, send_timeout_s: float = SEND_TIMEOUT_S) -> Celery:
    """The Celery app. One that `sends` gives up within `send_timeout_s`; a worker's must outlast its blocking pop.

    Early acknowledgement, no prefetch, no result backend, no ETA: the row is the truth and a claim running out is the
    only redelivery. Task events stay on: without them the thread pool takes `concurrency` tasks a second at most.
    """
    app = Celery("nightdesk", broker=settings.redis_url.get_secret_value(), set_as_current=not sends)
    timeout_s = send_timeout_s if sends else 5
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,
        task_acks_late=False,
        task_default_queue="control",
        task_create_missing_queues=True,
        task_routes={task: {"queue": queue} for task, queue in QUEUES.items()},
        task_send_sent_event=False,
        worker_disable_prefetch=True,
        worker_prefetch_multiplier=1,
        worker_send_task_events=True,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_enable_remote_control=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "socket_timeout": timeout_s,
            "socket_connect_timeout": min(timeout_s, 2),
            "socket_keepalive": True,
            "client_name": "nightdesk",
        },
    )
    return app


@dataclass(frozen=True, slots=True)
class Hint:
    """A wake-up: the task, what it is about (ids only, shown in Flower), and the id the task is found by."""

    task: str
    args: tuple[str, ...] = ()
    task_id: str | None = None
    shown: str = ""


def redis_client(settings: Settings, timeout_s: float = SEND_TIMEOUT_S) -> redis.Redis:
    """A Redis client with short timeouts and no retries; raises SettingsError."""
    url = settings.redis_url.get_secret_value().replace("redis+socket://", "unix://")
    if not url:
        raise SettingsError("NIGHTDESK_REDIS_URL: must be set (`nightdesk up` without it runs an embedded one)")
    try:
        return redis.Redis.from_url(
            url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=None, retry_on_error=[]
        )
    except ValueError:
        # Its text may quote a piece of the password.
        raise SettingsError("NIGHTDESK_REDIS_URL: must be redis://…, what is special in a password as %XX") from None


class Sender:
    """Sends wake-ups and notifications; after a failure a breaker stays open for BREAKER_S."""

    def __init__(self, settings: Settings, timeout_s: float = SEND_TIMEOUT_S) -> None:
        self._app = build(settings, sends=True, send_timeout_s=timeout_s)
        self._redis = redis_client(settings, timeout_s)
        self._lock = threading.Lock()
        self._producer: Producer | None = None
        self._closed_until = 0.0
        self.failures = 0

    @property
    def is_open(self) -> bool:
        """Whether sending is worth a try."""
        return monotonic() >= self._closed_until

    def send(self, hints: Sequence[Hint]) -> int:
        """Send the wake-ups, all in one round trip; gives back how many went out."""
        with self._lock:
            if not hints or not self.is_open:
                return 0
            try:
                producer = self._producer = self._producer or self._connect()
                with producer.batch(len(hints)):  # type: ignore[attr-defined]  # newer than its stubs
                    for hint in hints:
                        self._send_one(hint, producer)
            except FAILURES as error:
                self._producer = None
                self._trip(error)
                return 0
            return len(hints)

    def _connect(self) -> Producer:
        return self._app.amqp.Producer(self._app.connection_for_write())

    def _send_one(self, hint: Hint, producer: Any) -> None:
        self._app.send_task(
            hint.task,
            args=hint.args,
            task_id=hint.task_id,
            argsrepr=hint.shown or repr(hint.args),
            kwargsrepr="",
            producer=producer,
            retry=True,
            retry_policy={"max_retries": 0},
            ignore_result=True,
        )

    def backlog(self, task: str) -> int | None:
        """How many messages wait in a task's queue; None when Redis does not say."""
        if not self.is_open:
            return None
        try:
            return int(self._redis.llen(QUEUES[task]))
        except FAILURES as error:
            self._trip(error)
            return None

    def publish(self, job_ids: Iterable[str]) -> None:
        """Tell waiting clients that these jobs moved."""
        text = message(job_ids)
        if not text or not self.is_open:
            return
        try:
            self._redis.publish(CHANNEL, text)
        except FAILURES as error:
            self._trip(error)

    def share(self, amounts: Mapping[str, int], lasts_s: int) -> dict[str, int] | None:
        """Add to counters that all processes share; gives back the sums, or None when Redis does not say."""
        if not amounts or not self.is_open:
            return None
        try:
            with self._redis.pipeline(transaction=False) as pipe:
                for name, amount in amounts.items():
                    pipe.incrby(name, amount)
                    pipe.expire(name, lasts_s)
                sums = pipe.execute()[::2]
        except FAILURES as error:
            self._trip(error)
            return None
        return dict(zip(amounts, map(int, sums), strict=True))

    def _trip(self, error: Exception) -> None:
        self._closed_until = monotonic() + BREAKER_S
        self.failures += 1
        count("nightdesk_send_failures_total")
        log.warning("send", outcome="failed", error=type(error).__name__)

    def close(self) -> None:
        """Give the connections back."""
        self._redis.close()
        self._app.close()
