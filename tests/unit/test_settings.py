"""Settings: read from the environment and `.env`, refused with the name of what is wrong, silent about secrets."""

from ipaddress import ip_network
from pathlib import Path

import pytest
from pydantic import ValidationError

from worker.errors import SettingsError
from worker.settings import Settings, load


@pytest.fixture(autouse=True)
def _own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def test_without_any_variable_the_defaults_hold() -> None:
    settings = load()

    assert settings.database == f"sqlite:///{Path.cwd() / '.nightdesk' / 'nightdesk.db'}"
    assert settings.artifacts == (Path.cwd() / ".nightdesk" / "artifacts").as_uri()
    assert settings.gemini_api_key is None


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("NIGHTDESK_REDIS_URI", "NIGHTDESK_REDIS_URL"),
        ("NIGHTDESK_DATABSE_URL", "NIGHTDESK_DATABASE_URL"),
        ("NIGHTDESK_GEMINI_KEY", "NIGHTDESK_GEMINI_API_KEY"),
    ],
)
def test_an_unknown_setting_is_refused_with_the_nearest_name(
    monkeypatch: pytest.MonkeyPatch, name: str, meant: str
) -> None:
    monkeypatch.setenv(name, "a value")

    with pytest.raises(SettingsError, match=rf"^unknown setting {name}; did you mean {meant}\?$"):
        load()


def test_an_unknown_setting_in_the_env_file_is_refused_too(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("NIGHTDESK_REDIS_URI=redis://somewhere\n")

    with pytest.raises(SettingsError, match="unknown setting NIGHTDESK_REDIS_URI"):
        load()


def test_the_variables_of_the_client_are_no_settings_and_no_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTDESK_URL", "http://127.0.0.1:8000")
    monkeypatch.setenv("NIGHTDESK_API_KEY", "nd_a_key_of_the_client")

    assert load().bootstrap_api_key is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NIGHTDESK_MAX_QUEUED", "many"),
        ("NIGHTDESK_MAX_IN_FLIGHT", "0"),
        ("NIGHTDESK_CLAIM_POLL_S", "-1"),
        ("NIGHTDESK_LOG_LEVEL", "loud"),
        ("NIGHTDESK_GEMINI_WEBHOOKS", "on"),
        ("NIGHTDESK_CREATE_503", "retry"),
        ("NIGHTDESK_METRICS_PUBLIC", "perhaps"),
        ("NIGHTDESK_WEBHOOK_ALLOW_NETWORKS", "10.0.0.0/99"),
        ("NIGHTDESK_WEBHOOK_ALLOW_PORTS", "https"),
        ("NIGHTDESK_WEBHOOK_RETRY_S", "0,soon"),
    ],
)
def test_a_bad_value_is_refused_with_the_name_of_its_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(SettingsError, match=rf"^{name}: "):
        load()


def test_every_bad_value_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTDESK_MAX_QUEUED", "many")
    monkeypatch.setenv("NIGHTDESK_LOG_FORMAT", "xml")

    with pytest.raises(SettingsError, match=r"NIGHTDESK_MAX_QUEUED: .*; NIGHTDESK_LOG_FORMAT: "):
        load()


@pytest.mark.parametrize("verb", ["POLL", "START", "CANCEL", "DELIVER"])
def test_a_claim_that_ends_before_its_talk_is_refused(monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    monkeypatch.setenv(f"NIGHTDESK_CLAIM_{verb}_S", "9")

    with pytest.raises(SettingsError, match=rf"NIGHTDESK_CLAIM_{verb}_S is 9: it must exceed the timeout of \d+ s"):
        load()


@pytest.mark.parametrize(
    ("mode", "name", "value", "wrong"),
    [
        ("dynamic", "PUBLIC_URL", "", "must be set"),
        ("dynamic", "PUBLIC_URL", "desk.example", "must be http"),
        ("off", "PUBLIC_URL", "ftp://desk.example", "must be http"),
        ("off", "PUBLIC_URL", "https://desk.example/?key=hunter2", "must be http"),
        ("off", "PUBLIC_URL", "https://user:hunter2@desk.example", "must be http"),
        ("off", "PUBLIC_URL", "https://desk.example:hunter2", "must be http"),
        ("static", "GEMINI_WEBHOOK_SECRETS", "", "must be set"),
        ("static", "GEMINI_WEBHOOK_SECRETS", "whsec_hunter2!", "must be whsec_"),
        ("off", "GEMINI_WEBHOOK_SECRETS", "whsec_AAAA,whsec_", "must be whsec_"),
    ],
)
def test_upstream_events_need_an_address_or_secrets(
    monkeypatch: pytest.MonkeyPatch, mode: str, name: str, value: str, wrong: str
) -> None:
    monkeypatch.setenv("NIGHTDESK_GEMINI_WEBHOOKS", mode)
    monkeypatch.setenv(f"NIGHTDESK_{name}", value)

    with pytest.raises(SettingsError, match=f"^NIGHTDESK_{name}: {wrong}") as refused:
        load()

    assert "hunter2" not in str(refused.value)


def test_upstream_events_come_to_the_public_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTDESK_GEMINI_WEBHOOKS", "dynamic")
    monkeypatch.setenv("NIGHTDESK_PUBLIC_URL", "https://desk.example:8443/nightdesk/")
    monkeypatch.setenv("NIGHTDESK_GEMINI_WEBHOOK_SECRETS", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw, C2FVsBQIhrs=")

    settings = load()

    assert settings.upstream_events_url == "https://desk.example:8443/nightdesk/v1/upstream/gemini"
    assert len(settings.gemini_webhook_secrets) == 2
    assert "MfKQ9r8G" not in f"{settings!r} {settings.model_dump_json()}"


def test_job_rows_outlive_their_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTDESK_JOB_RETENTION_DAYS", "7")

    with pytest.raises(SettingsError, match="NIGHTDESK_JOB_RETENTION_DAYS"):
        load()


def test_secrets_do_not_print(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "hunter2-hunter2-hunter2"
    for name in ("ENCRYPTION_KEY", "GEMINI_API_KEY", "BOOTSTRAP_API_KEY", "FLOWER_BASIC_AUTH"):
        monkeypatch.setenv(f"NIGHTDESK_{name}", secret)
    for name in ("DATABASE_URL", "REDIS_URL", "ARTIFACTS_URL"):
        monkeypatch.setenv(f"NIGHTDESK_{name}", f"scheme://user:{secret}@host/name")

    settings = load()

    assert secret not in f"{settings} {settings!r} {settings.model_dump()} {settings.model_dump_json()}"


def test_a_refusal_does_not_repeat_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTDESK_MAX_QUEUED", "hunter2")

    with pytest.raises(SettingsError) as refused:
        load()

    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("name", ["NIGHTDESK_GEMINI_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY"])
def test_the_key_may_have_the_names_that_googles_sdk_knows(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "a key")

    key = load().gemini_api_key

    assert key is not None
    assert key.get_secret_value() == "a key"


def test_our_own_name_of_the_key_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_API_KEY", "theirs")
    monkeypatch.setenv("NIGHTDESK_GEMINI_API_KEY", "ours")

    key = load().gemini_api_key

    assert key is not None
    assert key.get_secret_value() == "ours"


def test_the_environment_goes_before_the_env_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("GEMINI_API_KEY=from the file\nNIGHTDESK_MAX_QUEUED=5\nNIGHTDESK_LOG_LEVEL=debug\n")
    monkeypatch.setenv("NIGHTDESK_MAX_QUEUED", "6")
    monkeypatch.setenv("NIGHTDESK_GEMINI_API_KEY", "from the environment")

    settings = load()

    assert settings.max_queued == 6
    assert settings.log_level == "debug"
    assert settings.gemini_api_key is not None
    assert settings.gemini_api_key.get_secret_value() == "from the environment"


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_postgresql_is_reached_through_psycopg(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    monkeypatch.setenv("NIGHTDESK_DATABASE_URL", f"{scheme}://host/name")

    assert load().database == "postgresql+psycopg://host/name"


def test_lists_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTDESK_WEBHOOK_ALLOW_NETWORKS", "127.0.0.0/8, ::1/128")
    monkeypatch.setenv("NIGHTDESK_WEBHOOK_ALLOW_PORTS", "443,8080")
    monkeypatch.setenv("NIGHTDESK_WEBHOOK_RETRY_S", "0, 1.5,60")

    settings = load()

    assert settings.webhook_allow_networks == (ip_network("127.0.0.0/8"), ip_network("::1/128"))
    assert settings.webhook_allow_ports == frozenset({443, 8080})
    assert settings.webhook_retry_s == (0, 1.5, 60)


def test_any_port_may_be_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTDESK_WEBHOOK_ALLOW_PORTS", "any")

    assert load().webhook_allow_ports is None


def test_settings_do_not_change() -> None:
    settings = Settings(_env_file=None)

    with pytest.raises(ValidationError, match="frozen"):
        settings.max_queued = 1  # type: ignore[misc]
