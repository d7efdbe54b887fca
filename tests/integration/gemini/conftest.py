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
    """A client whose calls may take a second each."""
    client = Gemini(access, loop, timeouts=Timeouts(create_s=1.0, get_s=1.0, cancel_s=1.0, delete_s=1.0, probe_s=1.0))
    yield client
    client.close()
