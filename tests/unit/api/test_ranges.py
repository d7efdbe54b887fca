import pytest

from api import ranges
from api.errors import RangeNotSatisfiable


@pytest.mark.parametrize(
    ("header", "part"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=2-", (2, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-30", (0, 10)),
        ("bytes=8-99", (8, 10)),
        ("Bytes= 1 - 2 ", (1, 3)),
        (None, None),
        ("", None),
        ("bytes=-", None),
        ("bytes=3-2", None),
        ("bytes=0-1,3-4", None),
        ("lines=0-1", None),
        ("bytes=\u0661-", None),
    ],
)
def test_one_range_is_read_and_the_rest_is_ignored(header: str | None, part: tuple[int, int] | None) -> None:
    assert ranges.parse(header, 10) == part


@pytest.mark.parametrize(
    ("header", "size"), [("bytes=10-", 10), ("bytes=10-20", 10), ("bytes=-0", 10), ("bytes=0-", 0)]
)
def test_a_range_outside_is_refused(header: str, size: int) -> None:
    with pytest.raises(RangeNotSatisfiable):
        ranges.parse(header, size)
