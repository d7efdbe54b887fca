"""The job's own fields: what is refused, and under which pointer."""

import pytest

from worker import options


def test_a_run_at_outside_the_calendar_is_a_fault() -> None:
    _, faults = options.read({"run_at": "9999-12-31T23:59:59-10:00"})

    assert [fault.pointer for fault in faults] == ["/run_at"]


def test_a_run_at_is_kept_in_utc() -> None:
    chosen, faults = options.read({"run_at": "2027-01-01T00:00:00+02:00"})

    assert faults == []
    assert chosen.run_at is not None
    assert chosen.run_at.isoformat() == "2026-12-31T22:00:00+00:00"


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"metadata": {"key": 1}}, "/metadata/key"),
        ({"metadata": {"a\x00": "b"}}, "/metadata/a\x00"),
        ({"metadata": {str(n): n for n in range(1000)}}, "/metadata"),
        ({"webhook_events": ["job.nonsense"]}, "/webhook_events/0"),
        ({"webhook_events": ["job.failed"] * 33}, "/webhook_events"),
        ({"timeout_seconds": 0}, "/timeout_seconds"),
        ({"timeout_seconds": 86_401}, "/timeout_seconds"),
        ({"priority": "urgent"}, "/priority"),
        ({"max_attempts": True}, "/max_attempts"),
    ],
)
def test_a_bad_field_is_named_by_its_pointer(fields: dict[str, object], pointer: str) -> None:
    _, faults = options.read(fields)

    assert [fault.pointer for fault in faults] == [pointer]
