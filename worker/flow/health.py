"""How an endpoint fares, and what follows: when it is paused, tried again, disabled. Pure decisions."""

from datetime import datetime, timedelta

from worker.models import WebhookEndpoint

BREAKS_AT = 5
"""Failures in a row after which one delivery at a time tries the endpoint and all others wait."""

GIVES_UP_AFTER = timedelta(days=5)
"""After so long with nothing but failures it is disabled."""

HELD_FOR = timedelta(days=30)
"""How long the deliveries of a disabled endpoint are kept for it."""

SHORTEST, LONGEST = timedelta(seconds=5), timedelta(minutes=5)
OWNER, GONE, FAILING = "owner", "gone", "failing"
"""Why an endpoint is disabled: by its owner, by an answer 410, by nothing but failures."""


def is_paused(endpoint: WebhookEndpoint) -> bool:
    """Whether it failed so often that one delivery at a time tries it."""
    return endpoint.failures >= BREAKS_AT


def may_probe(endpoint: WebhookEndpoint, now: datetime) -> bool:
    """Whether a paused endpoint may be tried now."""
    return endpoint.due_at is None or endpoint.due_at <= now


def succeeded(endpoint: WebhookEndpoint, now: datetime) -> None:
    """It took a delivery: whatever waits for it goes, too."""
    if endpoint.disabled_at is None and is_paused(endpoint):
        endpoint.due_at = now
    endpoint.failures, endpoint.failing_since = 0, None


def failed(endpoint: WebhookEndpoint, times: int, now: datetime, wish: timedelta = timedelta(0)) -> None:
    """It took none; the longer that lasts, the longer the pause before the next try, and no shorter than its `wish`."""
    endpoint.failures += times
    endpoint.failing_since = endpoint.failing_since or now
    if endpoint.disabled_at is not None:
        # What was under way is to be held, too, not to wait for its next turn.
        endpoint.due_at = now
    elif is_paused(endpoint):
        endpoint.due_at = now + max(pause(now - endpoint.failing_since), wish)


def pause(failing_for: timedelta) -> timedelta:
    """Half as long as it has been failing: few tries at the dead, and a quick recovery after a short outage."""
    return min(max(failing_for / 2, SHORTEST), LONGEST)


def reason_to_disable(endpoint: WebhookEndpoint, now: datetime, *, is_gone: bool) -> str | None:
    """Why an endpoint that just failed is to be disabled, if it is."""
    if endpoint.disabled_at is not None:
        return None
    if is_gone:
        return GONE
    is_over = endpoint.failing_since is not None and endpoint.failing_since <= now - GIVES_UP_AFTER
    return FAILING if is_over else None


def disable(endpoint: WebhookEndpoint, reason: str, now: datetime) -> None:
    """Send it nothing more; the sweep holds what waits."""
    endpoint.disabled_at, endpoint.disabled_reason, endpoint.due_at = now, reason, now


def enable(endpoint: WebhookEndpoint, now: datetime) -> None:
    """Begin anew; the sweep sends what was held."""
    endpoint.disabled_at = endpoint.disabled_reason = endpoint.failing_since = None
    endpoint.failures, endpoint.due_at = 0, now
