import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

from tests.integration.cli.conftest import Service

CLEAR_LINE = b"\x1b[2K"
TITLE = b"\x1b]0;"


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


def on_terminal(service: Service, folder: Path, *words: str) -> tuple[int, bytes]:
    """The exit code, and all that was written to a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    process = start(service, folder, *words, stdin=theirs, out=theirs)
    os.close(theirs)
    written = b""
    try:
        while part := os.read(ours, 65536):
            written += part
    except OSError:  # how Linux tells the end of a terminal
        pass
    os.close(ours)
    return process.wait(20), written


def test_a_terminal_shows_a_living_line_and_a_rendered_report(service: Service, tmp_path: Path) -> None:
    prompt = "[[sim: duration=15 text='# Owls\n\nThey *hunt*.']]"

    code, written = on_terminal(service, tmp_path, "submit", prompt, "--wait")

    assert code == 0
    assert CLEAR_LINE in written
    assert b"in_progress, turn 1, attempt 1" in written
    assert b"# Owls\r\n" not in written
    assert b"\x1b[3mhunt\x1b[0m" in written


def test_a_watched_job_shows_what_it_is_writing(service: Service, tmp_path: Path) -> None:
    prompt = f"[[sim: duration=30 text='{'Owls hunt by ear. ' * 60}']]"
    job_id = service.post("/v1/jobs", {"model": "gemini-3.8-flash", "input": prompt})["id"]

    code, written = on_terminal(service, tmp_path, "watch", job_id)

    assert code == 0
    assert "attempt 1: \u2026".encode() in written
    assert b"hunt by" in written


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
    out, err = process.communicate(timeout=20)

    assert (process.returncode, out) == (130, b"")
    assert f"nightdesk watch {job_id}".encode() in err
    assert f"nightdesk cancel {job_id}".encode() in err
    assert b"Traceback" not in err
    assert service.job(job_id)["finished_at"] is None
    service.cancel(job_id)
