"""What the parts of the stack find around them: ports, secrets, and the environment they are started with."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from worker.dev import keyring, ports
from worker.settings import Settings

LOOPBACK_NETWORKS = ("127.0.0.0/8", "::1/128")
UPSTREAM = ("GEMINI_", "GOOGLE_", "NIGHTDESK_GEMINI_API_KEY", "NIGHTDESK_GEMINI_BASE_URL")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What `nightdesk up` was asked for; a data directory of None is the one of the settings."""

    host: str = ports.LOOPBACK
    port: int = 8000
    flower_port: int = 5555
    data_dir: Path | None = None
    workers: int = 1
    simulator: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """The same for all parts: `settings` as the parts will read them, `environment` that makes them do so."""

    options: Options
    settings: Settings
    environment: Mapping[str, str]
    data_dir: Path
    receiver_port: int
    simulator_port: int | None
    """None where jobs go to a real API."""

    @property
    def api_url(self) -> str:
        """Where this machine finds the API."""
        return ports.url(self.options.host, self.options.port)

    @property
    def found_by_operators(self) -> dict[str, str]:
        """What the operators' commands cannot know: where the stack's own Redis and simulator are. Never a real key."""
        names = ["NIGHTDESK_REDIS_URL", *(UPSTREAM[2:] if self.simulator_port else ())]
        return {name: self.environment[name] for name in names}

    @property
    def logs(self) -> Path:
        """The folder of the log files."""
        return self.data_dir / "logs"


def choose(options: Options, settings: Settings, redis_url: str) -> Surroundings:
    """Decide what the user's settings leave open."""
    data_dir = settings.data_dir.absolute()
    secrets = keyring.complete(settings, data_dir)
    needs_simulator = options.simulator or not (settings.gemini_api_key or settings.gemini_base_url)
    taken = frozenset({options.port, options.flower_port})
    receiver_port = ports.prefer(options.port + 1, taken)
    simulator_port = ports.prefer(options.port + 2, taken | {receiver_port}) if needs_simulator else None
    chosen = {
        **secrets,
        **_webhook_rules(settings),
        "NIGHTDESK_DATA_DIR": str(data_dir),
        "NIGHTDESK_REDIS_URL": redis_url,
        "NIGHTDESK_LOG_FORMAT": settings.log_format or "console",
        "PYTHONUNBUFFERED": "1",
        "PYTHONSAFEPATH": "1",
    }
    inherited = dict(os.environ)
    if simulator_port is not None:
        # A real key, or a switch to another cloud, must never reach a part that believes it talks to the simulator.
        inherited = {name: value for name, value in inherited.items() if not name.upper().startswith(UPSTREAM)}
        chosen |= _simulated(simulator_port)
    return Surroundings(
        options=options,
        settings=settings.model_copy(
            update={
                "redis_url": SecretStr(redis_url),
                "encryption_key": SecretStr(secrets[keyring.ENCRYPTION_KEY]),
                "bootstrap_api_key": SecretStr(secrets[keyring.API_KEY]),
                "flower_basic_auth": SecretStr(secrets[keyring.FLOWER]),
            }
        ),
        environment=inherited | chosen,
        data_dir=data_dir,
        receiver_port=receiver_port,
        simulator_port=simulator_port,
    )


def _webhook_rules(settings: Settings) -> dict[str, str]:
    networks = (*map(str, settings.webhook_allow_networks), *LOOPBACK_NETWORKS)
    return {
        "NIGHTDESK_WEBHOOK_ALLOW_NETWORKS": ",".join(dict.fromkeys(networks)),
        "NIGHTDESK_WEBHOOK_ALLOW_HTTP": "true",
        "NIGHTDESK_WEBHOOK_ALLOW_PORTS": "any",
    }


def _simulated(port: int) -> dict[str, str]:
    direct = ",".join(filter(None, (os.environ.get("NO_PROXY"), os.environ.get("no_proxy"), ports.LOOPBACK)))
    return {
        "NIGHTDESK_GEMINI_API_KEY": "simulator",
        "NIGHTDESK_GEMINI_BASE_URL": ports.url(ports.LOOPBACK, port),
        "NO_PROXY": direct,
        "no_proxy": direct,
    }
