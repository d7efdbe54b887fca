import json
import os
import re
import tomllib
from typing import Any

import pytest
import typer
from dotenv import dotenv_values

from tests.system import compose, image
from worker.cli.commands import build
from worker.settings import PREFIX, Settings

SECRET = re.compile(r"PASSWORD|KEY|SECRET|AUTH|TOKEN")
KNOWN = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
SERVERS = {"api", "worker", "flower", "simulator"}
TALK_S = max(Settings(_env_file=None).talk_start_s, Settings(_env_file=None).talk_deliver_s)

FILE = compose.read(POSTGRES_PASSWORD="given")
SERVICES: dict[str, Any] = FILE["services"]
OWN = compose.own(SERVICES)


def test_every_part_of_the_service_is_there() -> None:
    assert set(OWN) == SERVERS | {"migrate"}
    assert set(SERVICES) - set(OWN) == {"postgres", "redis"}


@pytest.mark.parametrize("name", OWN)
def test_a_command_is_one_that_the_command_line_takes(name: str) -> None:
    program = typer.main.get_command(build())
    role, *options = OWN[name]["command"]

    parsed = program.commands[role].make_context(role, list(options))  # type: ignore[attr-defined]

    assert role == name
    assert parsed.params or role in {"migrate", "api"}


@pytest.mark.parametrize("name", OWN)
def test_variables_are_settings(name: str) -> None:
    assert set(OWN[name]["environment"]) <= KNOWN


def test_the_example_names_settings_and_gives_no_secret() -> None:
    example = dotenv_values(compose.EXAMPLE)

    assert set(example) <= KNOWN
    assert set(example.values()) == {""}
    assert set(re.findall(r"NIGHTDESK_\w+", compose.EXAMPLE.read_text())) <= KNOWN


def test_the_file_that_is_filled_in_stays_out_of_git_and_image() -> None:
    ignored = (compose.ROOT / "deploy" / ".gitignore").read_text().split()
    allowed = [line for line in (compose.ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]

    assert "nightdesk.env" in ignored
    assert not [line for line in allowed if "deploy" in line or "env" in line]


def test_no_secret_stands_in_the_file() -> None:
    raw = compose.FILE.read_text()
    named = [line for line in raw.splitlines() if re.match(rf" +[A-Z_]*({SECRET.pattern})[A-Z_]*:", line)]

    assert named
    assert all(compose.VARIABLE.fullmatch(line.partition(": ")[2]) for line in named)
    assert not re.findall(r"://[^/\s]+:[^$@/\s]+@", raw)


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_is_pinned(name: str) -> None:
    _, _, tag = SERVICES[name]["image"].partition(":")

    assert re.match(r"\d", tag)


def test_the_image_has_the_version_of_the_package() -> None:
    version = tomllib.loads((compose.ROOT / "pyproject.toml").read_text())["project"]["version"]

    assert {service["image"] for service in OWN.values()} == {f"nightdesk:{version}"}


@pytest.mark.parametrize("name", sorted(set(SERVICES) - {"migrate"}))
def test_a_server_is_watched_restarted_and_bounded(name: str) -> None:
    service = SERVICES[name]

    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"][0] == "CMD"
    assert service["deploy"]["resources"]["limits"]["memory"]


@pytest.mark.parametrize("name", OWN)
def test_our_processes_have_no_rights_that_they_do_not_need(name: str) -> None:
    service = OWN[name]

    assert (service["init"], service["read_only"], service["cap_drop"]) == (True, True, ["ALL"])
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_nothing_starts_before_the_tables_are_there() -> None:
    assert OWN["migrate"]["restart"] == "no"
    assert OWN["migrate"]["depends_on"] == {"postgres": {"condition": compose.HEALTHY}}
    for name in ("api", "worker"):
        assert OWN[name]["depends_on"]["migrate"] == {"condition": compose.COMPLETED}


def test_any_number_of_workers_may_run() -> None:
    assert not {"container_name", "ports", "hostname"} & set(SERVICES["worker"])


def test_only_this_machine_reaches_a_published_port() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}

    assert published == {"api": ["127.0.0.1:8000:8000"], "flower": ["127.0.0.1:5555:5555"]}


def test_the_servers_of_others_have_no_way_out() -> None:
    assert FILE["networks"]["inside"] == {"internal": True}
    assert [SERVICES[name]["networks"] for name in ("postgres", "redis", "simulator")] == [["inside"]] * 3


def test_artifacts_and_data_outlive_their_containers() -> None:
    mounted = {volume.partition(":")[0] for service in SERVICES.values() for volume in service.get("volumes", ())}

    assert mounted == set(FILE["volumes"]) == {"artifacts", "postgres", "redis"}
    assert OWN["api"]["volumes"] == OWN["worker"]["volumes"] == ["artifacts:/var/lib/nightdesk/artifacts"]
    assert OWN["api"]["environment"]["NIGHTDESK_DATA_DIR"] == "/var/lib/nightdesk"


def test_redis_keeps_what_it_took() -> None:
    command = " ".join(SERVICES["redis"]["command"])

    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command


def test_a_worker_is_given_the_time_that_its_longest_call_takes() -> None:
    assert compose.seconds(OWN["worker"]["stop_grace_period"]) > TALK_S + 10


def test_the_simulator_runs_only_when_asked_for_and_knows_no_secret() -> None:
    simulator = OWN["simulator"]

    assert simulator["profiles"] == ["simulator"]
    assert (simulator["env_file"], simulator["environment"]) == ([], {})


def test_the_image_copies_what_there_is_and_what_is_let_through() -> None:
    ignoring = (compose.ROOT / ".dockerignore").read_text().split()
    allowed = {line[1:] for line in ignoring if line.startswith("!")}

    assert "*" in ignoring
    assert all((compose.ROOT / name).exists() for name in image.copied())
    assert set(image.copied()) == allowed


def test_the_image_is_installed_as_make_installs() -> None:
    make = image.installs((compose.ROOT / "Makefile").read_text())
    ours = image.installs("\n".join(image.instructions()))

    wanted = [[word for word in words if word not in {"--quiet", "-e"}] for words in make[:2]]
    assert ours == wanted
    assert "--require-hashes" in ours[0]


def test_the_image_runs_as_nobody_in_particular() -> None:
    lines = image.instructions()

    final = lines[max(number for number, line in enumerate(lines) if line.startswith("FROM ")) :]
    assert "USER 10001:10001" in final
    assert json.loads(final[-1].removeprefix("ENTRYPOINT ")) == ["nightdesk"]
    assert not [line for line in final if "apt-get" in line or "pip" in line]


def test_no_variable_of_the_image_is_a_secret() -> None:
    named = {words[0] for line in image.instructions() if (words := re.findall(r"^(?:ARG|ENV) (\w+)", line))}

    assert named == {"PYTHON", "PIP_INDEX_URL", "PATH"}
    assert os.sep not in "".join(named)
