"""The simulator's options: values only, frozen, no environment and no files are read here."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How the simulator listens and behaves; times of runs are divided by `speed`, the latency is not."""

    host: str = "127.0.0.1"
    port: int = 0
    """0 takes a free one."""
    latency_s: float = 0.0
    """Added to every answer of the API."""
    speed: float = 1.0
    agent_s: float = 20.0
    model_s: float = 2.0
    jitter: float = 0.2
    """A run lasts its time * (1 ± jitter), drawn from the seed and the number of the create."""
    cancel_lag_s: float = 0.3
    """How long GET still shows a cancelled run as running."""
    foreground_limit_s: float = 60.0
    """A create with `background` false is answered 504 after this long."""
    state_path: Path | None = None
    """A journal that lets interactions survive a restart or a SIGKILL; memory only without it."""
    seed: int = 0
    api_key: str | None = None
    """If set, every other key is refused with 401."""
    max_interactions: int = 100_000
    """Beyond it the oldest ended ones are dropped."""
    webhook_url: str | None = None
    webhook_secret: str | None = None
    """A webhook that is registered from the start: told of every run whose create names no address of its own."""
    control: bool = True
    """Whether the `/_sim` calls exist."""
    custom_agents: tuple[str, ...] = ()
    """Own agent ids that are accepted beside the built-in ones."""
