"""One loop thread, one wire-level stub and one client of it for these tests; each test scripts the stub anew."""

from collections.abc import Iterator

import pytest

from tests.integration.gemini.stub import Stub
from worker.gemini.access import Access
from worker.gemini.client import Gemini, Timeouts
from worker.gemini.loop import LoopThread

KEY = "key-for-tests"


@pytest.fixture(scope="package")
def loop() -> Iterator[LoopThread]:
    thread = LoopThread()
    thread.start()
    yield thread
    thread.stop()


@pytest.fixture(scope="package")
def stub() -> Iterator[Stub]:
    with Stub() as server:
        yield server


@pytest.fixture(scope="package")
def access(stub: Stub) -> Access:
    return Access(api_key=KEY, base_url=stub.url)


@pytest.fixture(scope="package")
def gemini(access: Access, loop: LoopThread) -> Iterator[Gemini]:
    """A client whose calls may take as long as usual: what is answered is answered, however slow the machine is."""
    client = Gemini(access, loop)
    yield client
    client.close()


@pytest.fixture(scope="package")
def hasty(access: Access, loop: LoopThread) -> Iterator[Gemini]:
    """A client for those who never answer."""
    client = Gemini(access, loop, timeouts=Timeouts(create_s=0.3, cancel_s=0.3))
    yield client
    client.close()
