import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import cursor
from tests import anything
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


@anything.examples(200)
@given(text=st.text(max_size=20) | st.binary(max_size=12).map(lambda data: base64.b64encode(b"job:" + data).decode()))
def test_any_text_is_a_place_or_refused(text: str) -> None:
    try:
        place = cursor.decode("job", text)
    except BadRequest:
        return
    assert place is not None
    assert cursor.decode("job", cursor.encode("job", place)) == place
