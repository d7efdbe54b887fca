"""What tests of a whole installation have in common; each module has a `stack` of its own."""

from collections.abc import Iterator

import httpx2
import pytest

from tests.stack import Stack
from tests.system.desk import Desk
from tests.waiting import PATIENCE_S


@pytest.fixture
def client(stack: Stack) -> Iterator[httpx2.Client]:
    """A program that uses the installation."""
    with httpx2.Client(base_url=stack.url, headers=stack.headers, timeout=PATIENCE_S) as opened:
        yield opened


@pytest.fixture
def desk(stack: Stack) -> Desk:
    """A client and an operator of the installation."""
    return Desk(stack)
