import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.integration.cli.conftest import Nightdesk
from worker.cli.connection import Connection, Refused, Unreachable, access
from worker.errors import NightdeskError, SettingsError

KEPT = "nd_kept-by-up-in-its-folder"
HEAVY = ("sqlalchemy", "celery", "google", "fastapi", "pydantic", "aiohttp")


@pytest.fixture
def kept(bare_folder: Path) -> Path:
    """A folder as `nightdesk up` leaves it."""
    folder = bare_folder / ".nightdesk"
    folder.mkdir()
    (folder / "secrets.env").write_text(f"# Made.\nNIGHTDESK_BOOTSTRAP_API_KEY={KEPT}\nNIGHTDESK_ENCRYPTION_KEY=x$y\n")
    return folder


class Stranger:
    """An HTTP server that is not Nightdesk and counts who asks."""

    def __init__(self) -> None:
        self.url = ""
        self.status = 200
        self.asked = 0


@pytest.fixture
def stranger() -> Iterator[Stranger]:
    seen = Stranger()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.asked += 1
            self.send_response(seen.status)
            self.end_headers()
            self.wfile.write(b"<html>")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Nobody wants to know."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        seen.url = f"http://127.0.0.1:{server.server_port}"
        yield seen
        server.shutdown()
        thread.join()


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("url", ["", "http://127.0.0.1:8000", "http://localhost:1", "http://[::1]:8000"])
def test_the_key_that_up_made_opens_the_service_here(url: str) -> None:
    assert access({"NIGHTDESK_URL": url}).key == KEPT


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("url", ["https://jobs.example.com", "http://127.0.0.1.example.com", "http://10.0.0.1:8000"])
def test_the_key_that_up_made_is_never_sent_elsewhere(url: str) -> None:
    with pytest.raises(SettingsError, match="NIGHTDESK_API_KEY"):
        access({"NIGHTDESK_URL": url})


@pytest.mark.usefixtures("kept")
def test_a_key_that_was_set_stands_above_the_one_that_up_made() -> None:
    assert access({"NIGHTDESK_API_KEY": "nd_mine"}).key == "nd_mine"


def test_the_key_is_found_in_the_data_directory_that_was_set(kept: Path) -> None:
    elsewhere = kept.rename(kept.with_name("elsewhere"))

    assert access({"NIGHTDESK_DATA_DIR": str(elsewhere)}).key == KEPT


def test_address_and_key_may_stand_in_a_dotenv_file(bare_folder: Path) -> None:
    (bare_folder / ".env").write_text("NIGHTDESK_URL=https://jobs.example.com/\nNIGHTDESK_API_KEY=nd_from-the-file\n")

    found = access({})

    assert (str(found.url), found.key) == ("https://jobs.example.com/", "nd_from-the-file")


NO_ADDRESSES = ["jobs.example.com", "ftp://a.example", "http://", "http://[::1", "http://a:b", "http://u:secret@a"]


@pytest.mark.parametrize("url", NO_ADDRESSES)
def test_what_is_no_address_is_told(bare: Nightdesk, url: str) -> None:
    bare.set(NIGHTDESK_URL=url, NIGHTDESK_API_KEY="nd_mine")

    ran = bare("jobs")

    assert ran.code == 2
    assert "NIGHTDESK_URL" in ran.err
    assert "secret" not in ran.err


@pytest.mark.parametrize("key", ["", "nd_ключ", "nd_a\nHost: b"])
def test_without_a_usable_key_nothing_is_sent(bare: Nightdesk, key: str) -> None:
    bare.set(NIGHTDESK_URL="http://127.0.0.1:1", NIGHTDESK_API_KEY=key)

    ran = bare("jobs")

    assert ran.code == 2
    assert "NIGHTDESK_API_KEY" in ran.err


def test_a_refused_key_is_told_with_the_variable_to_set(nightdesk: Nightdesk) -> None:
    nightdesk.set(NIGHTDESK_API_KEY="nd_nobody-has-this-key")

    ran = nightdesk("jobs")

    assert ran.code == 1
    assert "(unauthenticated)" in ran.err
    assert "NIGHTDESK_API_KEY" in ran.err


def test_a_service_that_is_not_there_is_told_with_what_starts_it(bare: Nightdesk) -> None:
    bare.set(NIGHTDESK_URL="http://127.0.0.1:1", NIGHTDESK_API_KEY="nd_mine")

    ran = bare("jobs")

    assert ran.code == 1
    assert "`nightdesk up`" in ran.err


@pytest.mark.usefixtures("bare_folder")
def test_what_never_left_this_machine_is_not_in_doubt() -> None:
    nobody = access({"NIGHTDESK_URL": "http://127.0.0.1:1", "NIGHTDESK_API_KEY": "nd_mine"})

    with Connection(nobody) as connection, pytest.raises(Unreachable) as failed:
        connection.json("POST", "/v1/jobs", json={}, again_s=(0, 0))

    assert not failed.value.is_in_doubt


@pytest.mark.parametrize("status", [200, 301, 404, 500])
def test_a_server_that_is_not_nightdesk_is_told(bare: Nightdesk, stranger: Stranger, status: int) -> None:
    bare.set(NIGHTDESK_URL=stranger.url, NIGHTDESK_API_KEY="nd_mine")
    stranger.status = status

    ran = bare("jobs")

    assert ran.code == 1
    assert "as Nightdesk does" in ran.err


@pytest.mark.usefixtures("bare_folder")
@pytest.mark.parametrize(
    ("status", "raised", "asked"), [(503, Unreachable, 3), (502, Unreachable, 3), (500, Refused, 1)]
)
def test_only_what_passes_is_asked_again(
    stranger: Stranger, status: int, raised: type[NightdeskError], asked: int
) -> None:
    stranger.status = status
    there = access({"NIGHTDESK_URL": stranger.url, "NIGHTDESK_API_KEY": "nd_mine"})

    with Connection(there) as connection, pytest.raises(raised):
        connection.json("GET", "/v1/jobs", again_s=(0, 0))

    assert stranger.asked == asked


def test_the_client_never_imports_the_engine() -> None:
    code = f"import sys; from worker.cli import client; print([name for name in {HEAVY} if name in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"
