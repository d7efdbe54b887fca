"""Commands of an operator: in an empty folder, on a database of its own, and beside a running `nightdesk up`."""

import os
import shutil
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.system.stack import START_S, Stack
from tests.waiting import eventually

HEAVY = ("aiohttp", "alembic", "celery", "fastapi", "google.genai", "pydantic", "redis", "sqlalchemy")
KEY = "an encryption key for tests"


def run(folder: Path, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run `nightdesk` with an almost empty environment."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)} | variables
    command = [sys.executable, "-m", "worker.cli", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=START_S, check=False
    )


def may_list_jobs(stack: Stack, key: str) -> bool:
    request = urllib.request.Request(f"{stack.api}/v1/jobs", headers={"Authorization": f"Bearer {key}"})
    try:
        with urllib.request.urlopen(request, timeout=START_S) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError as refused:
        refused.close()
        return False


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("up")) as running:
        yield running


@pytest.fixture
def migrated(sqlite_template: Path, tmp_path: Path) -> Path:
    (tmp_path / ".nightdesk").mkdir()
    shutil.copyfile(sqlite_template, tmp_path / ".nightdesk/nightdesk.db")
    return tmp_path


def test_help_loads_nothing_heavy(tmp_path: Path) -> None:
    code = (
        f"import sys; from worker.cli.commands import build; build(); print([n for n in {HEAVY} if n in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_migrate_makes_a_database_that_check_accepts(tmp_path: Path) -> None:
    made = run(tmp_path, "migrate")

    assert (made.returncode, made.stdout) == (0, "the database is at this release\n")
    assert "ok    database: SQLite, at this release" in run(tmp_path, "check").stdout


def test_the_options_of_the_api_are_those_of_its_own_process(tmp_path: Path) -> None:
    done = run(tmp_path, "api", "--help")

    assert done.returncode == 0
    assert "--port" in done.stdout


def test_check_names_everything_that_is_missing_and_makes_nothing(tmp_path: Path) -> None:
    done = run(tmp_path, "check")

    failures = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
    assert done.returncode == 1
    assert [line.split(":")[0] for line in failures] == [
        "FAIL  database",
        "FAIL  encryption key",
        "FAIL  redis",
        "FAIL  gemini key",
    ]
    assert "ok    catalog: 34 models and agents" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_check_beside_up_finds_all_in_order(stack: Stack) -> None:
    # Of what stands still at that moment a check rightly says that it does not answer.
    done = eventually(lambda: one if (one := run(stack.folder, "check")).returncode == 0 else None, what="no fault")

    assert "FAIL" not in done.stdout


def test_check_asks_the_workers_of_this_machine(stack: Stack) -> None:
    name = f"nightdesk.{stack.part('worker.cli', 'worker').pid}@"

    def finds_it() -> bool:
        done = run(stack.folder, "check", "--worker")
        return done.returncode == 0 and name in done.stdout

    eventually(finds_it, what="an answer of the worker")


def test_check_fails_where_no_worker_answers(migrated: Path, redis_url: str) -> None:
    done = run(migrated, "check", "--worker", NIGHTDESK_REDIS_URL=redis_url, NIGHTDESK_ENCRYPTION_KEY=KEY)

    assert done.returncode == 1
    assert "FAIL  worker: no worker on this machine answers" in done.stdout


def test_check_refuses_the_encryption_key_of_another_database(migrated: Path) -> None:
    run(migrated, "keys", "create", "--name=first", NIGHTDESK_ENCRYPTION_KEY=KEY)

    done = run(migrated, "check", NIGHTDESK_ENCRYPTION_KEY="another key of enough length")

    assert "FAIL  encryption key: NIGHTDESK_ENCRYPTION_KEY: is not the key this database was made with" in done.stdout


def test_reseal_lets_the_old_encryption_key_be_dropped(migrated: Path) -> None:
    new = "another key of enough length"
    run(migrated, "keys", "create", "--name=first", NIGHTDESK_ENCRYPTION_KEY=KEY)

    done = run(migrated, "reseal", NIGHTDESK_ENCRYPTION_KEY=f"{new},{KEY}")

    assert done.stdout == "2 secrets, 0 requests and 0 results are sealed with the first key\n", done.stderr
    assert "fits the database" in run(migrated, "check", NIGHTDESK_ENCRYPTION_KEY=new).stdout
    assert "FAIL  encryption key" in run(migrated, "check", NIGHTDESK_ENCRYPTION_KEY=KEY).stdout


def test_a_reseal_that_breaks_off_does_not_let_the_old_key_be_dropped(migrated: Path) -> None:
    new = "another key of enough length"
    run(migrated, "keys", "create", "--name=first", NIGHTDESK_ENCRYPTION_KEY=KEY)
    with closing(sqlite3.connect(migrated / ".nightdesk/nightdesk.db")) as database, database:
        database.execute("INSERT INTO job_input (job_id, turn, body) VALUES ('job_x', 1, ?)", (b"\x01" + b"?" * 40,))

    done = run(migrated, "reseal", NIGHTDESK_ENCRYPTION_KEY=f"{new},{KEY}")

    assert done.returncode == 2
    assert "is not the key this database was made with" in done.stderr
    assert "FAIL  encryption key" in run(migrated, "check", NIGHTDESK_ENCRYPTION_KEY=new).stdout
    assert "fits the database" in run(migrated, "check", NIGHTDESK_ENCRYPTION_KEY=KEY).stdout


def test_a_created_key_opens_the_api_until_it_is_revoked(stack: Stack) -> None:
    made = run(stack.folder, "keys", "create", "--name=try", "--project=other", "--scopes=jobs:read")
    key, key_id = made.stdout.strip(), made.stderr.split()[0]
    listed = run(stack.folder, "keys", "list").stdout

    assert may_list_jobs(stack, key)
    assert f"{key_id}  {key[:7]}…  other  try  jobs:read  never used" in listed
    assert key not in listed

    revoked = run(stack.folder, "keys", "revoke", key_id)

    assert revoked.stdout == f"{key_id}: revoked\n"
    assert f"{key_id}" in run(stack.folder, "keys", "list").stdout


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["keys", "revoke", "key_unknown"], 1, "nightdesk: there is no live key key_unknown\n"),
        (
            ["keys", "create", "--name=x", "--scopes=jobs:all"],
            2,
            "nightdesk: no such scope: jobs:all; there are jobs:read, jobs:write, webhooks:write, admin\n",
        ),
    ],
)
def test_expected_trouble_is_one_line(migrated: Path, arguments: list[str], status: int, said: str) -> None:
    done = run(migrated, *arguments, NIGHTDESK_ENCRYPTION_KEY=KEY)

    assert (done.returncode, done.stderr) == (status, said)


@pytest.mark.parametrize("arguments", [["gates"], ["keys", "list"], ["gates", "pause", "all"]])
def test_without_a_database_nothing_is_made(tmp_path: Path, arguments: list[str]) -> None:
    done = run(tmp_path, *arguments)

    assert done.returncode == 2
    assert done.stderr.startswith("nightdesk: there is no database ")
    assert list(tmp_path.iterdir()) == []


def test_check_warns_of_retired_ids_and_fails_for_a_bad_catalog(migrated: Path) -> None:
    path = migrated / "catalog.json"
    path.write_text('{"entries": [{"kind": "model", "id": "gemini-1.5-flash", "family": "gemini"}]}')
    run(migrated, "gates", "pause", "gemini-2.5-pro")
    warned = run(migrated, "check", NIGHTDESK_CATALOG_FILE=str(path)).stdout.splitlines()
    path.write_text('{"entries": [{"kind": "robot", "id": "x", "family": "y"}]}')

    failed = run(migrated, "check", NIGHTDESK_CATALOG_FILE=str(path)).stdout

    assert [line.removeprefix("warn  catalog: ") for line in warned if line.startswith("warn")] == [
        "model gemini-1.5-flash is in the catalog, and retired: jobs for it run as gemini-3.8-flash",
        "the gate of gemini-2.5-pro is paused: gemini-2.5-pro is retired: jobs for it run as gemini-3.1-pro-preview",
    ]
    assert "ok    catalog: 35 models and agents" in warned
    assert "FAIL  catalog: NIGHTDESK_CATALOG_FILE: the catalog override is not valid: entries/0/kind:" in failed


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("gemini-3.8-flahs", "warning: the catalog knows no gemini-3.8-flahs; did you mean gemini-3.8-flash?\n"),
        ("zzz", "warning: the catalog knows no zzz\n"),
        ("gemini-2.5-pro", "warning: gemini-2.5-pro is retired: jobs for it run as gemini-3.1-pro-preview\n"),
        ("gemini-3.8-flash", ""),
        ("all", ""),
    ],
)
def test_a_gate_that_nobody_may_have_meant_is_paused_with_a_warning(migrated: Path, target: str, said: str) -> None:
    done = run(migrated, "gates", "pause", target)

    assert (done.returncode, done.stdout, done.stderr) == (0, f"{target}: paused\n", said)


def test_a_worker_refuses_to_start_without_its_settings(migrated: Path) -> None:
    done = run(migrated, "worker")

    assert done.returncode == 2
    assert done.stderr == "nightdesk: NIGHTDESK_ENCRYPTION_KEY: must be set, to 16 characters or more\n"


@pytest.mark.parametrize("target", ["all", "gemini-3.5-flash-lite"])
def test_a_paused_gate_is_shown_until_it_is_resumed(migrated: Path, target: str) -> None:
    run(migrated, "gates", "pause", target)
    paused = run(migrated, "gates").stdout

    run(migrated, "gates", "resume", target)

    assert paused.split() == [target, "paused", "by", "an", "operator"]
    assert run(migrated, "gates").stdout == "every gate is open\n"
