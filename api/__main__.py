"""`python -m api`: one API process."""

import argparse
import resource
import signal
import sys
from importlib.util import find_spec

import uvicorn
from starlette.types import ASGIApp

from api.app import build
from api.connection import limited
from worker import context as contexts
from worker import heap, telemetry
from worker import settings as configuration
from worker.errors import SettingsError, Unavailable
from worker.telemetry import log

GRACEFUL_S = 20
KEEP_ALIVE_S = 75
RESERVED_FILES = 256
MAX_CONNECTIONS = 10_000


def main(arguments: list[str] | None = None) -> int:
    """Serve until told to stop; gives back the exit code."""
    parser = argparse.ArgumentParser(prog="python -m api", description="Serve Nightdesk's HTTP API.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--uds", help="serve on this Unix socket instead")
    chosen = parser.parse_args(arguments)
    try:
        return run(configuration.load(), host=chosen.host, port=chosen.port, uds=chosen.uds)
    except (SettingsError, Unavailable) as error:
        print(f"nightdesk: {error}", file=sys.stderr)  # noqa: T201 - the log may not be set up yet
        return 2 if isinstance(error, SettingsError) else 1


def run(settings: configuration.Settings, *, host: str, port: int, uds: str | None = None) -> int:
    """Serve with these settings; gives back the exit code. Raises SettingsError, Unavailable before it serves."""
    heap.prepare()
    telemetry.set_up(settings.log_format, settings.log_level)
    servers: list[uvicorn.Server] = []
    app = build(settings, contexts.build(settings), is_leaving=lambda: servers[0].should_exit)
    servers.append(uvicorn.Server(served(app, settings, host=host, port=port, uds=uds)))
    # uvicorn raises the signal again once it has stopped in order: every stop would look like a death.
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: None)
    servers[0].run()
    return 0


def served(
    app: ASGIApp, settings: configuration.Settings, *, host: str, port: int, uds: str | None = None
) -> uvicorn.Config:
    """How the server serves an application."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        uds=uds,
        loop="uvloop" if find_spec("uvloop") else "asyncio",
        http=limited(_connections()),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=[str(network) for network in settings.trusted_proxies],
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACEFUL_S,
    )


def _connections() -> int:
    """As many as the process may have files open, less what databases and logs need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS + RESERVED_FILES
    if soft < wanted:
        soft = min(wanted, hard) if hard != resource.RLIM_INFINITY else wanted
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    limit = max(64, min(MAX_CONNECTIONS, soft - RESERVED_FILES))
    log.info("api", outcome="starting", max_connections=limit)
    return limit


if __name__ == "__main__":
    sys.exit(main())
