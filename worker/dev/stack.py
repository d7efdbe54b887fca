"""`nightdesk up`: every part of the service on one machine, from an empty folder to a banner, and down again."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from time import monotonic

from worker.dev import keyring, ports
from worker.dev.banner import banner
from worker.dev.interrupts import Interrupts
from worker.dev.lock import FolderLock
from worker.dev.redis import EmbeddedRedis
from worker.dev.supervisor import PartFailed, Supervisor
from worker.dev.surroundings import Options, Surroundings, choose
from worker.errors import SettingsError
from worker.settings import Settings, load

READY_S = 60.0


def up(options: Options, say: Callable[[str], None]) -> bool:
    """Run everything until the end is asked for; False if a part did not start. Raises SettingsError."""
    began = monotonic()
    settings = load(data_dir=options.data_dir) if options.data_dir else load()
    data_dir = settings.data_dir.absolute()
    with Interrupts() as interrupts, ExitStack() as stack:
        _hold(data_dir, stack)
        ports.require(options.host, options.port, "--port")
        ports.require(options.host, options.flower_port, "--flower-port")
        if options.port == options.flower_port:
            raise SettingsError(f"the API and Flower cannot share port {options.port}: choose another --flower-port")
        say(f"Starting Nightdesk; data and logs are in {data_dir} …")
        server = _redis(settings, data_dir, stack)
        around = choose(options, settings, server.url if server else settings.redis_url.get_secret_value())
        keyring.announce(data_dir, around.found_by_operators)
        stack.callback(keyring.withdraw, data_dir)
        supervisor = Supervisor(interrupts, say)
        stack.callback(supervisor.stop)
        try:
            _start(supervisor, around, server, say)
            if supervisor.await_ready(READY_S):
                print(banner(around, took_s=monotonic() - began), flush=True)
                supervisor.run()
            say("Stopping …")
        except PartFailed as failure:
            say(str(failure))
            return False
    return True


def _hold(data_dir: Path, stack: ExitStack) -> None:
    """Make the data directory and keep every other `up` away from it."""
    lock = FolderLock(data_dir)
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        data_dir.chmod(0o700)
        (data_dir / "logs").mkdir(exist_ok=True, mode=0o700)
        lock.take()
    except OSError as error:
        raise SettingsError(f"the data directory {data_dir} cannot be used: {error.strerror}") from None
    stack.callback(lock.free)


def _redis(settings: Settings, data_dir: Path, stack: ExitStack) -> EmbeddedRedis | None:
    if settings.redis_url.get_secret_value():
        return None
    server = EmbeddedRedis(data_dir / "redis", data_dir / "logs" / "redis.log")
    server.start()
    stack.callback(server.stop)
    return server


def _start(
    supervisor: Supervisor, around: Surroundings, server: EmbeddedRedis | None, say: Callable[[str], None]
) -> None:
    # Imported late: the heavy libraries load while the first parts do.
    from worker.dev import parts, schema  # noqa: PLC0415

    if server is not None:
        supervisor.add(parts.redis(server, around), server.process)
    if around.simulator_port is not None:
        supervisor.add(parts.simulator(around.simulator_port, around))
    supervisor.add(parts.receiver(around))
    supervisor.add(parts.flower(around))
    for doubt in schema.prepare(around.settings):
        say(f"Warning: {doubt}")
    supervisor.add(parts.api(around))
    for worker in parts.workers(around):
        supervisor.add(worker)
