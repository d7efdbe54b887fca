"""How a worker ends, as its supervisor sees it: some start again only what failed."""

import signal
from contextlib import closing
from pathlib import Path

from tests.stack import Stack
from tests.waiting import PATIENCE_S, eventually
from worker.app import redis_client


def test_a_worker_that_celery_gives_up_has_failed_and_one_that_is_told_to_end_has_not(tmp_path: Path) -> None:
    with Stack(tmp_path, workers=2) as stack, closing(redis_client(stack.settings, timeout_s=PATIENCE_S)) as redis:
        left, told = stack.processes["worker-0"], stack.processes["worker-1"]

        stack.kill("worker-1", signal.SIGTERM)
        redis.acl_setuser("default", enabled=True, commands=["-brpop"])
        eventually(lambda: left.poll() is not None, what="the end of a worker whose broker refuses it")

        assert (left.returncode, told.returncode) == (1, 0)
