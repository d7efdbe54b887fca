"""Keeps the tests' own process off the network: whatever is not loopback is refused before a packet leaves.

An audit hook sees every connect, datagram and look-up made through Python's socket module, whichever library makes it.
"""

import socket
import sys
from ipaddress import ip_address

LOOKUPS = ("socket.getaddrinfo", "socket.gethostbyname")
TALKS = ("socket.connect", "socket.sendto")


class NetworkRefused(BaseException):
    """A test reached for the network; no `except Exception` of the code under test may hide it."""


def forbid() -> None:
    """Refuse, from now on and for good, all traffic that leaves this machine."""
    allowed = frozenset({"", "localhost", socket.gethostname()})

    def guard(event: str, arguments: tuple[object, ...]) -> None:
        if event in TALKS and not _stays_here(arguments[1]):
            raise NetworkRefused(f"{event} to {arguments[1]!r}")
        if event in LOOKUPS and not _needs_no_look_up(arguments[0], allowed):
            raise NetworkRefused(f"{event} of {arguments[0]!r}")

    sys.addaudithook(guard)


def _stays_here(address: object) -> bool:
    if not isinstance(address, tuple):
        return True  # the path of a Unix socket
    host = str(address[0]).partition("%")[0]
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _needs_no_look_up(host: object, allowed: frozenset[str]) -> bool:
    name = host.decode() if isinstance(host, bytes) else host
    return not isinstance(name, str) or name in allowed or _is_literal(name)


def _is_literal(name: str) -> bool:
    try:
        socket.inet_pton(socket.AF_INET6, name.partition("%")[0])
    except OSError:
        try:
            socket.inet_aton(name)
        except OSError:
            return False
    return True
