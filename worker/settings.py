"""Every setting, read once from `NIGHTDESK_*` variables and `.env`, frozen.

An unknown or bad value stops the start with a message that names it. Secrets are `SecretStr`: they print as stars.
"""

import base64
import binascii
import os
from collections.abc import Mapping
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import AliasChoices, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from worker.errors import SettingsError

GEMINI_URL = "https://generativelanguage.googleapis.com"
PREFIX = "NIGHTDESK_"
PROCESS_VARIABLES = frozenset({"NIGHTDESK_URL", "NIGHTDESK_API_KEY"})
"""Variables of the command-line client, which are no settings of the service."""


def _listed(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _networks(value: object) -> object:
    parts = _listed(value)
    return tuple(ip_network(part) if isinstance(part, str) else part for part in parts) if parts else ()  # type: ignore[attr-defined]


Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_networks)]
Ports = Annotated[frozenset[int] | None, NoDecode, BeforeValidator(lambda v: None if v == "any" else _listed(v))]
Ladder = Annotated[tuple[float, ...], NoDecode, BeforeValidator(_listed)]
Secrets = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_listed)]
Seconds = Annotated[float, Field(gt=0)]
Factor = Annotated[float, Field(ge=1)]
Bytes = Annotated[int, Field(ge=1024)]
Positive = Annotated[int, Field(ge=1)]
Number = Annotated[int, Field(ge=0)]

HOUR_S = 3600
UPSTREAM_PATH = "/v1/upstream/gemini"
"""Where the API receives the upstream's own events."""

SLOT_WAIT_S = 2.0
"""How long a delivery may wait for its turn at a busy host before it counts as `busy`."""

DEFAULT_LADDER_S = (0, 5, 300, 1800, 2 * HOUR_S, 5 * HOUR_S, 10 * HOUR_S, 14 * HOUR_S, 20 * HOUR_S, 24 * HOUR_S)


class Settings(BaseSettings):
    """The settings of one process. Durations are seconds, sizes are bytes."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        frozen=True,
        extra="ignore",
        env_ignore_empty=True,
        populate_by_name=True,
        validate_default=True,
    )

    data_dir: Path = Path(".nightdesk")
    database_url: SecretStr = SecretStr("")
    redis_url: SecretStr = SecretStr("")
    artifacts_url: SecretStr = SecretStr("")
    encryption_key: SecretStr = SecretStr("")
    bootstrap_api_key: SecretStr | None = None

    gemini_api_key: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("NIGHTDESK_GEMINI_API_KEY", "GOOGLE_API_KEY", "GEMINI_API_KEY")
    )
    gemini_base_url: str | None = Field(
        default=None, validation_alias=AliasChoices("NIGHTDESK_GEMINI_BASE_URL", "GOOGLE_GEMINI_BASE_URL")
    )
    gemini_api_version: str = "v1"
    gemini_connections: Annotated[int, Field(ge=1, le=4096)] = 256
    gemini_webhooks: Literal["off", "static", "dynamic"] = "off"
    gemini_webhook_secrets: Secrets = ()
    public_url: str | None = None
    create_503: Literal["refused", "unconfirmed"] = "refused"
    catalog_file: Path | None = None

    webhook_allow_networks: Networks = ()
    webhook_allow_http: bool = False
    webhook_allow_ports: Ports = frozenset({443, 8443})
    webhook_retry_s: Ladder = DEFAULT_LADDER_S

    poll_agent_start_s: Seconds = 5
    poll_agent_factor: Factor = 1.4
    poll_agent_cap_s: Seconds = 30
    poll_model_start_s: Seconds = 1
    poll_model_factor: Factor = 1.5
    poll_model_cap_s: Seconds = 10

    talk_poll_s: Seconds = 10
    talk_start_s: Seconds = 30
    talk_cancel_s: Seconds = 10
    talk_deliver_s: Seconds = 15
    talk_file_s: Seconds = 120
    claim_poll_s: Seconds = 15
    claim_start_s: Seconds = 40
    claim_cancel_s: Seconds = 15
    claim_deliver_s: Seconds = 20

    max_in_flight: Positive | None = None
    max_in_flight_per_target: Positive | None = None
    max_queued: Positive = 100_000
    max_queued_per_project: Number | None = None
    max_in_flight_per_project: Number | None = None
    max_jobs_per_day: Number | None = None
    max_tokens_per_day: Positive | None = None
    """For each project that has no limits of its own; a day is one of UTC."""
    rate_limit_submit: Number = 6000
    """For each key and minute: whatever is no GET; 0 is no limit."""
    rate_limit_read: Number = 60_000
    auth_failures: Number = 60
    """For each address and minute: requests with a key that does not exist; 0 is no limit."""
    trusted_proxies: Networks = ()
    max_body_bytes: Bytes = 20 * 1024 * 1024
    max_file_bytes: Bytes = 2 * 1024**3
    max_uploads: Positive = 4
    upload_timeout_s: Seconds = HOUR_S
    max_result_bytes: Bytes = 32 * 1024 * 1024
    result_retention_days: Positive = 30
    job_retention_days: Positive = 90
    usage_retention_days: Positive = 400
    audit_retention_days: Positive = 400
    upstream_retention_days: Annotated[int, Field(ge=1, le=3650)] = 55

    hold_s: Annotated[float, Field(gt=0, le=600)] = 600

    flower_basic_auth: SecretStr = SecretStr("")
    metrics_public: bool = False
    log_format: Literal["console", "json"] | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @model_validator(mode="after")
    def _talks_end_inside_their_claims(self) -> Self:
        for verb in ("poll", "start", "cancel", "deliver"):
            talk_s, claim_s = getattr(self, f"talk_{verb}_s"), getattr(self, f"claim_{verb}_s")
            talk_s += SLOT_WAIT_S if verb == "deliver" else 0
            if claim_s <= talk_s:
                raise ValueError(
                    f"{PREFIX}CLAIM_{verb.upper()}_S is {claim_s:g}: it must exceed the timeout of {talk_s:g} s"
                )
        if self.job_retention_days < self.result_retention_days:
            raise ValueError(f"{PREFIX}JOB_RETENTION_DAYS is shorter than {PREFIX}RESULT_RETENTION_DAYS")
        return self

    @model_validator(mode="after")
    def _events_can_come_and_be_verified(self) -> Self:
        if self.gemini_webhooks == "dynamic" and self.public_url is None:
            raise ValueError(f"{PREFIX}PUBLIC_URL: must be set where {PREFIX}GEMINI_WEBHOOKS is dynamic")
        if self.gemini_webhooks == "static" and not self.gemini_webhook_secrets:
            raise ValueError(f"{PREFIX}GEMINI_WEBHOOK_SECRETS: must be set where {PREFIX}GEMINI_WEBHOOKS is static")
        if self.public_url is not None and not _is_public(self.public_url):
            raise ValueError(f"{PREFIX}PUBLIC_URL: must be http(s)://host[:port][/path]")
        if not all(_is_signing_secret(secret.get_secret_value()) for secret in self.gemini_webhook_secrets):
            raise ValueError(f"{PREFIX}GEMINI_WEBHOOK_SECRETS: must be whsec_… secrets, separated by commas")
        return self

    @property
    def upstream_events_url(self) -> str:
        """Where the upstream shall send its events; raises AssertionError where nobody can reach us."""
        assert self.public_url is not None, "checked at the start"
        return self.public_url.rstrip("/") + UPSTREAM_PATH

    @cached_property
    def database(self) -> str:
        """The SQLAlchemy URL: PostgreSQL through psycopg 3, or SQLite in the data directory."""
        url = self.database_url.get_secret_value()
        for plain in ("postgresql://", "postgres://"):
            if url.startswith(plain):
                return "postgresql+psycopg://" + url.removeprefix(plain)
        return url or f"sqlite:///{(self.data_dir / 'nightdesk.db').absolute()}"

    @cached_property
    def gemini(self) -> str:
        """Where the Interactions API is."""
        return self.gemini_base_url or GEMINI_URL

    @cached_property
    def artifacts(self) -> str:
        """The artifact store's URL: a folder of the data directory unless set."""
        return self.artifacts_url.get_secret_value() or (self.data_dir / "artifacts").absolute().as_uri()


def _is_public(url: str) -> bool:
    try:
        parts = urlsplit(url)
        has_port = parts.port is None or parts.port > 0
    except ValueError:
        return False
    is_bare = not (parts.query or parts.fragment or parts.username or parts.password) and url.isprintable()
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and has_port and is_bare and " " not in url


def _is_signing_secret(secret: str) -> bool:
    text = secret.removeprefix("whsec_").rstrip("=")
    try:
        return bool(base64.b64decode(text + "=" * (-len(text) % 4), validate=True))
    except binascii.Error:
        return False


def load(**overrides: object) -> Settings:
    """The settings of this process; raises SettingsError naming each bad or unknown variable."""
    _refuse_unknown({**dotenv_values(".env"), **os.environ})
    try:
        return Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        raise SettingsError("; ".join(_fault(dict(fault)) for fault in error.errors())) from None


def _refuse_unknown(names: Mapping[str, str | None]) -> None:
    known = {f"{PREFIX}{field.upper()}" for field in Settings.model_fields} | PROCESS_VARIABLES
    for name in sorted(names):
        if name.startswith(PREFIX) and name not in known:
            near = _nearest(name, known)
            raise SettingsError(f"unknown setting {name}" + (f"; did you mean {near}?" if near else ""))


def _nearest(name: str, known: set[str]) -> str | None:
    from difflib import get_close_matches  # noqa: PLC0415  (only a wrong setting pays for it)

    return next(iter(get_close_matches(name, known, n=1)), None)


def _fault(fault: dict[str, object]) -> str:
    where = fault["loc"]
    message = str(fault["msg"]).removeprefix("Value error, ")
    if not isinstance(where, tuple) or not where:
        return message
    name = str(where[0])
    return f"{name if name.isupper() else PREFIX + name.upper()}: {message}"
