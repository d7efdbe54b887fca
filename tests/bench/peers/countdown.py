"""Countdown polling: every poll is a task of its own that sends the next one with a countdown.

Run as `celery -A tests.bench.peers.countdown worker`.
"""

from tests.bench.peers import plain
from tests.bench.peers.schedule import RUNNING, wait_s

app = plain.celery("plain")


@app.task(name="plain.start", ignore_result=True)
def start(job_id: str) -> None:
    """Create, and call for the first poll."""
    name = plain.create(job_id)
    poll.apply_async((job_id, name, 0), countdown=wait_s(0))


@app.task(name="plain.poll", ignore_result=True)
def poll(job_id: str, name: str, polls: int) -> None:
    """One look; calls for the next, or finishes the job."""
    interaction = plain.gemini().interactions.get(name)
    if interaction.status in RUNNING:
        poll.apply_async((job_id, name, polls + 1), countdown=wait_s(polls + 1))
    else:
        plain.finish(job_id, interaction)
