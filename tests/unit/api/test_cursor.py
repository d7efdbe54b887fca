import base64

import pytest

from api import cursor
from worker.errors import BadRequest


def test_a_cursor_gives_back_its_place() -> None:
    assert cursor.decode("job", cursor.encode("job", "job_01abc")) == "job_01abc"
    assert cursor.decode("job", None) is None


@pytest.mark.parametrize(
    "text", ["", "!", "job", "a", base64.b64encode(b"job:A").decode(), base64.b64encode(b"job:").decode()]
)
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        cursor.decode("job", text)


def test_a_cursor_of_another_list_is_refused() -> None:
    with pytest.raises(BadRequest):
        cursor.decode("event", cursor.encode("job", "job_01abc"))
