"""TCP ports of the stack: which are free, and whether somebody answers on them."""

import errno
import http.client
import socket
from time import monotonic, sleep

from worker.errors import SettingsError

PATIENCE_S = 2.0
"""How long a process that was just killed may keep its port."""
LOOPBACK = "127.0.0.1"
NEAR = 20


def require(host: str, port: int, option: str) -> None:
    """Raise SettingsError, naming port and option, unless a server may listen there."""
    deadline = monotonic() + PATIENCE_S
    while (error := _refusal(host, port)) is not None:
        if error.errno == errno.EADDRINUSE and monotonic() < deadline:
            sleep(0.05)
            continue
        raise SettingsError(f"cannot listen on {host} port {port}: {_reason(error)}; choose another with {option}")


def prefer(port: int, taken: frozenset[int]) -> int:
    """The first port on loopback from this one on that is free and not taken in a moment, else any that is free.

    The same at every start, as far as may be: webhooks of jobs that wait are sent to a receiver at its old port.
    """
    for candidate in range(port, min(port + NEAR, 65536)):
        if candidate not in taken and _refusal(LOOPBACK, candidate) is None:
            return candidate
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def reachable(host: str) -> str:
    """The address under which this machine reaches a server that listens on `host`."""
    return {"0.0.0.0": LOOPBACK, "::": "::1"}.get(host, host)  # noqa: S104  (it is compared, not bound)


def url(host: str, port: int) -> str:
    """The URL of a server that listens on `host`, as seen from this machine."""
    name = reachable(host)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def serves(host: str, port: int, path: str) -> bool:
    """Whether a GET is answered with 200."""
    connection = http.client.HTTPConnection(reachable(host), port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _refusal(host: str, port: int) -> OSError | None:
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return error
    return None


def _reason(error: OSError) -> str:
    known = {
        errno.EADDRINUSE: "it is in use",
        errno.EACCES: "not permitted to this user",
        errno.EADDRNOTAVAIL: "this machine has no such address",
    }
    return known.get(error.errno or 0, error.strerror or type(error).__name__)
