"""The artifact store on a local folder and on an object store named by URL: the same for whoever uses it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.artifacts.bucket import Bucket
from worker.artifacts import Artifacts
from worker.errors import ArtifactStoreError, NotFound

LARGE = bytes(range(256)) * 60_000


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """An object store, and the environment in which an operator names it."""
    with Bucket() as server:
        for name, value in {
            "AWS_ENDPOINT": server.endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "eu-central-1",
        }.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture(params=["file", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Artifacts:
    if request.param == "s3":
        request.getfixturevalue("bucket")
        return Artifacts("s3://artifacts/night/desk")
    return Artifacts((tmp_path / "a folder").as_uri())


@pytest.mark.parametrize("data", [b"", b"x", LARGE], ids=["empty", "small", "large"])
def test_what_was_stored_is_given_whole_and_in_parts(store: Artifacts, data: bytes) -> None:
    store.put("job_a/1.1/0", b"older")
    store.put("job_a/1.1/0", data)

    assert store.get("job_a/1.1/0") == data
    if data:
        assert store.get("job_a/1.1/0", 0, 1) == data[:1]
        assert store.get("job_a/1.1/0", len(data) // 2, len(data)) == data[len(data) // 2 :]


def test_what_is_not_there_is_not_found(store: Artifacts) -> None:
    with pytest.raises(NotFound):
        store.get("job_a/1.1/0")
    with pytest.raises(NotFound):
        store.get("job_a/1.1/0", 0, 5)


def test_everything_of_one_job_is_removed_and_nothing_of_another(store: Artifacts) -> None:
    for key in ("job_a/1.1/0", "job_a/2.1/0", "job_ab/1.1/0"):
        store.put(key, b"x")

    store.remove("job_a/")
    store.remove("job_unknown/")

    assert store.get("job_ab/1.1/0") == b"x"
    for key in ("job_a/1.1/0", "job_a/2.1/0"):
        with pytest.raises(NotFound):
            store.get(key)


def test_a_removed_job_leaves_no_folder(tmp_path: Path) -> None:
    store = Artifacts((tmp_path / "artifacts").as_uri())
    store.put("job_a/1.1/0", b"x")

    store.remove("job_a/")

    assert list((tmp_path / "artifacts").iterdir()) == []


def test_objects_lie_below_the_prefix_of_the_url(bucket: Bucket) -> None:
    Artifacts("s3://artifacts/night/desk").put("job_a/1.1/0", b"x")

    assert bucket.objects == {"night/desk/job_a/1.1/0": b"x"}


def test_a_store_that_stumbles_is_asked_again_and_one_that_fails_is_told_soon(bucket: Bucket) -> None:
    store = Artifacts("s3://artifacts")

    bucket.failing = 1
    store.put("job_a/1.1/0", b"x")
    bucket.failing = 1000

    for call in (
        lambda: store.put("job_a/1.1/1", b"x"),
        lambda: store.get("job_a/1.1/0"),
        lambda: store.remove("job_a/"),
    ):
        before = len(bucket.calls)
        with pytest.raises(ArtifactStoreError) as caught:
            call()
        assert len(bucket.calls) - before == 3
        assert "127.0.0.1" not in str(caught.value)
