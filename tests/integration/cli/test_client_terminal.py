import os
import pty
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

from tests.integration.cli.conftest import Service
from tests.waiting import eventually

CLEAR_LINE = b"\x1b[2K"
TITLE = b"\x1b]0;"
LONG_S, PATIENCE_S = 9000, 120.0
"""How long a run lasts that is ended when enough was seen, by the simulator's quick clock; how long that may take."""


def start(
    service: Service, folder: Path, *words: str, stdin: int = subprocess.DEVNULL, out: int = subprocess.PIPE
) -> subprocess.Popen[bytes]:
    variables = {"NIGHTDESK_URL": service.url, "NIGHTDESK_API_KEY": service.key, "TERM": "xterm-256color"}
    return subprocess.Popen(
        [sys.executable, "-m", "worker.cli", *words],
        cwd=folder,
        env={**os.environ, **variables, "PYTHONPATH": str(Path(__file__).parents[3])},
        stdin=stdin,
        stdout=out,
        stderr=out,
    )


def on_terminal(service: Service, folder: Path, *words: str, until: Sequence[bytes] = ()) -> tuple[int, bytes]:
    """The exit code, and all that was written to a terminal of 80 columns.

    What runs upstream goes on until all of these words were written, however long the machine takes for that.
    """
    ours, theirs = pty.openpty()
    process = start(service, folder, *words, stdin=theirs, out=theirs)
    os.close(theirs)
    written, is_to_end, give_up = b"", bool(until), monotonic() + PATIENCE_S
    try:
        while part := os.read(ours, 65536):
            written += part
            if is_to_end and all(words in written for words in until):
                service.upstream.advance(LONG_S)
                is_to_end = False
            assert monotonic() < give_up, written
    except OSError:  # how Linux tells the end of a terminal
        pass
    finally:
        os.close(ours)
        if process.poll() is None and monotonic() >= give_up:
            process.kill()
    return process.wait(60), written


def test_a_terminal_shows_a_living_line_and_a_rendered_report(service: Service, tmp_path: Path) -> None:
    prompt = f"[[sim: duration={LONG_S} text='# Owls\n\nThey *hunt*.']]"
    line = b"in_progress, turn 1, attempt 1"

    code, written = on_terminal(service, tmp_path, "submit", prompt, "--wait", until=[line, CLEAR_LINE])

    assert code == 0
    assert CLEAR_LINE in written
    assert line in written
    assert b"# Owls\r\n" not in written
    assert b"\x1b[3mhunt\x1b[0m" in written


def test_a_watched_job_shows_what_it_is_writing(service: Service, tmp_path: Path) -> None:
    prompt = f"[[sim: duration={LONG_S} text='{'Owls hunt by ear. ' * 60}']]"
    job_id = service.post("/v1/jobs", {"model": "gemini-3.8-flash", "input": prompt})["id"]
    eventually(lambda: service.job(job_id)["status"] == "in_progress")
    service.upstream.advance(LONG_S / 20)
    shown = ["attempt 1: \u2026".encode(), b"hunt by"]

    code, written = on_terminal(service, tmp_path, "watch", job_id, until=shown)

    assert code == 0
    assert all(words in written for words in shown)


def test_a_model_cannot_command_the_terminal(service: Service, tmp_path: Path) -> None:
    _, written = on_terminal(service, tmp_path, "submit", "[[sim: text='a\x1b]0;owned\x07b']]", "--wait")

    assert b"owned" in written
    assert TITLE not in written


def test_an_interrupted_wait_leaves_the_job_running(service: Service, tmp_path: Path) -> None:
    process = start(service, tmp_path, "submit", "[[sim: duration=6000]]", "--wait")
    assert process.stderr is not None
    job_id = process.stderr.readline().decode().strip()
    process.stderr.readline()

    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)

    assert (process.returncode, out) == (130, b"")
    assert f"nightdesk watch {job_id}".encode() in err
    assert f"nightdesk cancel {job_id}".encode() in err
    assert b"Traceback" not in err
    assert service.job(job_id)["finished_at"] is None
    service.cancel(job_id)
