"""When the peers poll: 1 s, growing by half, at most 10 s; and what tells them that a run goes on."""

START_S, FACTOR, CAP_S = 1.0, 1.5, 10.0
RUNNING = {"queued", "in_progress"}


def wait_s(polls: int) -> float:
    """How long to wait before the next poll."""
    return min(START_S * FACTOR ** min(polls, 10), CAP_S)
