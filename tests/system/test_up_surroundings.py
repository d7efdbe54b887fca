"""What `nightdesk up` decides for its parts: secrets, ports, the upstream, and what it tells of them."""

import shlex
from pathlib import Path

import pytest

from tests.conftest import MakeSettings
from worker.dev import keyring, ports, schema
from worker.dev.banner import banner
from worker.dev.surroundings import Options, Surroundings, choose

REDIS = "redis://127.0.0.1:6379"


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def around(make_settings: MakeSettings, options: Options | None = None, **chosen: object) -> Surroundings:
    return choose(options or Options(), make_settings(**{"encryption_key": ""} | chosen), REDIS)


@pytest.mark.usefixtures("data_dir")
def test_secrets_are_generated_once(make_settings: MakeSettings) -> None:
    first, second = around(make_settings).environment, around(make_settings).environment

    for name in (keyring.API_KEY, keyring.ENCRYPTION_KEY, keyring.FLOWER):
        assert len(first[name]) > 20
        assert first[name] == second[name]


@pytest.mark.usefixtures("data_dir")
def test_a_secret_that_the_user_set_is_used_and_not_written_down(make_settings: MakeSettings, data_dir: Path) -> None:
    chosen = around(make_settings, encryption_key="the user's own key")

    assert chosen.environment[keyring.ENCRYPTION_KEY] == "the user's own key"
    assert "the user's own key" not in (data_dir / keyring.KEPT).read_text()


@pytest.mark.usefixtures("data_dir")
def test_without_a_key_jobs_go_to_the_simulator_and_cost_nothing(make_settings: MakeSettings) -> None:
    chosen = around(make_settings)
    text = banner(chosen, took_s=5)

    assert chosen.environment["NIGHTDESK_GEMINI_BASE_URL"] == f"http://127.0.0.1:{chosen.simulator_port}"
    assert "nothing is billed" in text
    assert '"agent": "deep-research' in text


@pytest.mark.usefixtures("data_dir")
def test_with_a_key_the_banner_says_billed_and_offers_a_small_model(make_settings: MakeSettings) -> None:
    chosen = around(make_settings, gemini_api_key="a real key")
    text = banner(chosen, took_s=5)

    assert chosen.simulator_port is None
    assert "BILLED" in text
    assert "deep-research" not in text
    assert '"model": "gemini-3.5-flash-lite"' in text
    assert "a real key" not in text


@pytest.mark.usefixtures("data_dir")
def test_a_real_key_is_never_announced(make_settings: MakeSettings) -> None:
    chosen = around(make_settings, gemini_api_key="a real key")

    assert chosen.found_by_operators == {"NIGHTDESK_REDIS_URL": REDIS}


@pytest.mark.usefixtures("data_dir")
def test_the_simulator_hides_every_google_variable(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_API_KEY", "a real key")
    monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")
    monkeypatch.setenv("NO_PROXY", "example.com")

    chosen = around(make_settings, Options(simulator=True), gemini_api_key="a real key").environment

    assert [name for name in chosen if name.startswith(("GOOGLE_", "GEMINI_"))] == []
    assert "a real key" not in chosen.values()
    assert chosen["NO_PROXY"] == "example.com,127.0.0.1"


@pytest.mark.usefixtures("data_dir")
def test_webhooks_to_this_machine_are_allowed_beside_what_the_user_allows(make_settings: MakeSettings) -> None:
    chosen = around(make_settings, webhook_allow_networks="10.1.0.0/16").environment

    assert chosen["NIGHTDESK_WEBHOOK_ALLOW_NETWORKS"] == "10.1.0.0/16,127.0.0.0/8,::1/128"
    assert chosen["NIGHTDESK_WEBHOOK_ALLOW_HTTP"] == "true"
    assert chosen["NIGHTDESK_WEBHOOK_ALLOW_PORTS"] == "any"


@pytest.mark.usefixtures("data_dir")
def test_every_host_is_shown_as_this_machine_reaches_it(make_settings: MakeSettings) -> None:
    chosen = around(make_settings, Options(host="0.0.0.0", port=8123))

    assert chosen.api_url == "http://127.0.0.1:8123"
    assert ports.url("::", 8123) == "http://[::1]:8123"


@pytest.mark.usefixtures("data_dir")
def test_the_receiver_keeps_off_the_ports_of_the_others(make_settings: MakeSettings) -> None:
    chosen = around(make_settings, Options(port=5554, flower_port=5555))

    assert chosen.receiver_port != 5555


@pytest.mark.usefixtures("data_dir")
def test_the_command_of_the_banner_survives_a_shell(make_settings: MakeSettings) -> None:
    text = banner(around(make_settings), took_s=5)

    words = shlex.split(text[text.index("  curl ") :].partition("\n\n")[0])

    assert words[0] == "curl"
    assert words[-2] == "-d"


@pytest.mark.parametrize("is_asked_for", [True, False])
def test_the_banner_names_a_data_directory_that_only_up_was_told(
    make_settings: MakeSettings, tmp_path: Path, *, is_asked_for: bool
) -> None:
    elsewhere = tmp_path / "the data"
    elsewhere.mkdir()
    options = Options(data_dir=elsewhere if is_asked_for else None)

    words = shlex.split(banner(around(make_settings, options, data_dir=elsewhere), took_s=5))

    assert (f"NIGHTDESK_DATA_DIR={elsewhere}" in words) == is_asked_for


def test_what_is_retired_is_told_before_the_parts_start(
    make_settings: MakeSettings, sqlite_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "catalog.json"
    path.write_text('{"entries": [{"kind": "model", "id": "gemini-1.5-flash", "family": "gemini"}]}')

    told = schema.prepare(make_settings(database_url=sqlite_url, catalog_file=path))

    assert told == ["model gemini-1.5-flash is in the catalog, and retired: jobs for it run as gemini-3.8-flash"]
