"""Problems in the upstream's words."""

from typing import Any

import pytest

from api import errors
from api.errors import INTERNAL, METHOD_NOT_ALLOWED, TABLE, RangeNotSatisfiable
from api.gemini import manners
from worker.errors import Fault

RETRIED = {408, 409, *range(500, 600)}
"""What both SDKs send again whatever it means; they also repeat 429, which is always worth it."""

ANSWERS = [*(TABLE[kind] for kind in TABLE if kind is not RangeNotSatisfiable), INTERNAL, METHOD_NOT_ALLOWED]
"""This door has no ranges."""


def problem(answer: errors.Answer, detail: str = "no", *faults: Fault) -> dict[str, Any]:
    return errors.document(answer, detail, request_id="r", errors=faults)


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.code)
def test_every_problem_has_a_word_of_the_upstream(answer: errors.Answer) -> None:
    status, content = manners.upstream_error(problem(answer))

    assert answer.code in manners.CODES
    assert content == {"error": {"code": manners.CODES[answer.code][1], "message": "no"}}
    assert (status in RETRIED) == (answer.status >= 500)


def test_faults_name_their_places_as_the_upstream_does() -> None:
    faults = (Fault("/tools/0/type", "is required"), Fault("", "must be an object"), Fault("/a~1b", "is odd"))

    _, content = manners.upstream_error(problem(errors.INVALID, "3 faults", *faults))

    message = content["error"]["message"]
    assert message == "'tools[0].type' is required; 'body' must be an object; 'a/b' is odd"


def test_an_unknown_path_is_told_what_there_is() -> None:
    _, content = manners.upstream_error(problem(errors.NOT_FOUND, errors.NO_SUCH_PATH))

    assert "/gemini/{v1|v1beta}/interactions" in content["error"]["message"]


@pytest.mark.parametrize(("path", "expected"), [("/gemini", True), ("/gemini/v1/x", True), ("/geminis", False)])
def test_only_this_door_has_these_manners(path: str, *, expected: bool) -> None:
    assert manners.is_here(path) is expected
