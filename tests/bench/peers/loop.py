"""The loop in a task: create, then sleep and poll until it is done. A thread or process waits for every job.

Run as `celery -A tests.bench.peers.loop worker`, with `--pool=prefork` or `--pool=threads`.
"""

from time import sleep

from tests.bench.peers import plain
from tests.bench.peers.schedule import RUNNING, wait_s

app = plain.celery("plain")


@app.task(name="plain.start", ignore_result=True)
def start(job_id: str) -> None:
    """One job from its create to its webhook."""
    name, polls = plain.create(job_id), 0
    while True:
        sleep(wait_s(polls))
        interaction = plain.gemini().interactions.get(name)
        if interaction.status not in RUNNING:
            break
        polls += 1
    plain.finish(job_id, interaction)
