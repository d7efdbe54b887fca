"""The embedded Redis: kept data, private files, and a life that ends with its parent's."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import redis

from tests.waiting import eventually
from worker.dev import tether
from worker.dev.redis import EmbeddedRedis
from worker.errors import SettingsError

PARENT = """
import sys, time
from pathlib import Path
from worker.dev.redis import EmbeddedRedis

server = EmbeddedRedis(Path(sys.argv[1]))
server.start()
print(server.process.pid, flush=True)
time.sleep(600)
"""


def connect(server: EmbeddedRedis) -> "redis.Redis":
    return redis.Redis.from_url(server.url.replace("redis+socket://", "unix://"), decode_responses=True)


def put(server: EmbeddedRedis, value: str) -> None:
    with connect(server) as client:
        client.rpush("queue", value)


def held(server: EmbeddedRedis) -> object:
    with connect(server) as client:
        return client.lrange("queue", 0, -1)


def start_parent(folder: Path) -> tuple["subprocess.Popen[str]", psutil.Process]:
    command = [sys.executable, "-c", PARENT, str(folder)]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    return parent, psutil.Process(int(parent.stdout.readline()))


def kill(parent: "subprocess.Popen[str]") -> None:
    parent.kill()
    parent.communicate()


def is_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_it_listens_on_a_private_socket_only(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / "redis") as server, connect(server) as client:
        listening = psutil.Process(server.process.pid if server.process else 0).net_connections("inet")
        configured = client.config_get("*")

        assert listening == []
        assert stat.S_IMODE((tmp_path / "redis").stat().st_mode) == 0o700
        assert (configured["appendonly"], configured["appendfsync"]) == ("yes", "everysec")
        assert configured["maxmemory-policy"] == "noeviction"


def test_what_it_held_is_there_after_a_stop(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        put(server, "first")

    with EmbeddedRedis(tmp_path) as server:
        assert held(server) == ["first"]


def test_it_dies_with_a_killed_parent_and_keeps_its_data(tmp_path: Path) -> None:
    parent, child = start_parent(tmp_path)
    put(EmbeddedRedis(tmp_path), "first")

    kill(parent)
    eventually(lambda: is_gone(child), what="the end of the server")

    with EmbeddedRedis(tmp_path) as server:
        assert held(server) == ["first"]


def test_it_starts_right_after_its_parent_was_killed(tmp_path: Path) -> None:
    parent, _ = start_parent(tmp_path)

    kill(parent)

    with EmbeddedRedis(tmp_path) as server:
        assert server.answers()


def test_a_second_one_on_the_same_folder_is_refused_and_named(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        with pytest.raises(SettingsError, match=f"in use by another running Nightdesk .process {os.getpid()}"):
            EmbeddedRedis(tmp_path).start()

        assert server.answers()


def test_a_server_that_outlived_its_parent_still_guards_its_data(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        server._lock.free()

        with pytest.raises(SettingsError, match="in use by another running Nightdesk"):
            EmbeddedRedis(tmp_path).start()


def test_a_cut_off_end_of_its_data_costs_the_last_command_only(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        put(server, "first")
        put(server, "second")
    data = max(tmp_path.rglob("*.aof"), key=lambda path: path.stat().st_size)
    os.truncate(data, data.stat().st_size - 3)

    with EmbeddedRedis(tmp_path) as server:
        assert held(server) == ["first"]


def test_data_that_cannot_be_read_are_set_aside(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        put(server, "first")
    data = max(tmp_path.rglob("*.aof"), key=lambda path: path.stat().st_size)
    data.write_bytes(b"not what a server wrote\n" * 10)

    with EmbeddedRedis(tmp_path) as server:
        assert held(server) == []

    assert list(tmp_path.glob("unreadable-*"))


def test_a_long_path_gets_its_socket_elsewhere_and_leaves_nothing_there(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / ("d" * 120) / "a folder") as server:
        put(server, "first")
        socket = Path(server.url.removeprefix("redis+socket://"))

        assert held(server) == ["first"]
        assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700

    assert not socket.parent.exists()


def test_a_path_with_spaces_works(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / "a folder") as server:
        put(server, "first")

        assert held(server) == ["first"]


def test_a_watchdog_ends_a_child_whose_parent_is_gone(tmp_path: Path) -> None:
    script = (
        "import signal, subprocess, sys, time\nfrom worker.dev import tether\n"
        "child = subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
        "tether.watch(child.pid, signal.SIGKILL)\nprint(child.pid, flush=True)\ntime.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))

    kill(parent)

    eventually(lambda: is_gone(child), what="the end of the child")


def test_a_watchdog_leaves_with_the_child_it_watches() -> None:
    child = subprocess.Popen(["sleep", "600"])
    tether.watch(child.pid, signal.SIGKILL)
    dogs = [
        process for process in psutil.process_iter(["cmdline"]) if f"{child.pid}" in (process.info["cmdline"] or [])
    ]

    child.kill()
    child.wait()

    assert dogs
    eventually(lambda: all(is_gone(dog) for dog in dogs), what="the end of the watchdog")
