"""The address guard: to which URLs, and to which addresses behind a name, a webhook may be sent.

Pure: it never looks a name up and never connects. Whatever it cannot read it refuses. Its messages name a port at most:
the paths and queries of webhook URLs carry secrets, and the addresses behind names are this network's own affair.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address

from worker.errors import AddressRefused
from worker.webhooks.ranges import IPAddress, IPNetwork, special_use

DEFAULT_PORTS = frozenset({443, 8443})
SCHEME_PORTS = {"https": 443, "http": 80}
MAX_URL = 2048
MAX_HOST = 253

_UNREADABLE = re.compile(r"[\x00-\x20\x7f\\]")
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<resource>[^#]*)(?:#.*)?")
_AUTHORITY = re.compile(r"(?P<host>\[[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*\]|[^\[\]:%]+)(?::(?P<port>[0-9]{0,5}))?")
_RESOURCE = re.compile(r"[\x21-\x7e]*")
_LABEL = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
# A last label like this makes the C library read the whole host as an IPv4 address: 127.1, 0x7f000001, 017700000001.
_NUMERIC_END = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")


@dataclass(frozen=True, slots=True)
class Policy:
    """What an installation allows; `allow_ports` None means any port. HTTP does not bring port 80 with it."""

    allow_networks: tuple[IPNetwork, ...] = ()
    allow_http: bool = False
    allow_ports: frozenset[int] | None = DEFAULT_PORTS


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that passed the guard: `host` in ASCII lower case, `address` set where the host is a literal address."""

    scheme: str
    host: str
    port: int
    resource: str = field(repr=False)
    address: IPAddress | None = None

    @property
    def url(self) -> str:
        """The URL built anew from the checked parts, so that no second parser can read it differently."""
        host = f"[{self.host}]" if isinstance(self.address, IPv6Address) else self.host
        port = "" if self.port == SCHEME_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.resource}"


def check_url(url: str, policy: Policy) -> Target:
    """Read a webhook URL strictly; raises AddressRefused. Looks nothing up: `vet` follows at each attempt."""
    scheme, authority, resource = _split(url)
    if scheme != "https" and not (scheme == "http" and policy.allow_http):
        raise AddressRefused("a webhook URL must begin with https://")
    if "@" in authority:
        raise AddressRefused("a webhook URL must not carry a user name or password")
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        raise AddressRefused("the host or port of the webhook URL cannot be read")
    host, address = _host(match["host"], policy)
    return Target(scheme, host, _port(match["port"], scheme, policy), resource, address)


def vet(addresses: Iterable[str], policy: Policy) -> tuple[str, ...]:
    """Return what a name resolved to, in canonical form; raises AddressRefused if even one address is not allowed."""
    vetted = tuple(dict.fromkeys(str(_allowed(text, policy)) for text in addresses))
    if not vetted:
        raise AddressRefused("the host has no address")
    return vetted


def _split(url: str) -> tuple[str, str, str]:
    if len(url) > MAX_URL:
        raise AddressRefused(f"a webhook URL has at most {MAX_URL} characters")
    if _UNREADABLE.search(url):
        raise AddressRefused("a webhook URL must not contain spaces, control characters or backslashes")
    match = _URL.fullmatch(url)
    if match is None:
        raise AddressRefused("the webhook URL cannot be read")
    if not _RESOURCE.fullmatch(match["resource"]):
        raise AddressRefused("the path and query of a webhook URL must be percent-encoded ASCII")
    resource = match["resource"]
    return match["scheme"].lower(), match["authority"], resource if resource.startswith("/") else f"/{resource}"


def _port(text: str | None, scheme: str, policy: Policy) -> int:
    port = int(text) if text else SCHEME_PORTS[scheme]
    if not 0 < port < 65536:
        raise AddressRefused("the port of the webhook URL does not exist")
    if policy.allow_ports is not None and port not in policy.allow_ports:
        raise AddressRefused(f"webhooks may not be sent to port {port}")
    return port


def _host(text: str, policy: Policy) -> tuple[str, IPAddress | None]:
    if text.startswith("["):
        literal = _allowed(text[1:-1], policy)
        return str(literal), literal
    host = _ascii(text)
    if host.endswith("."):
        raise AddressRefused("the host of a webhook URL must not end in a dot")
    if len(host) > MAX_HOST or not _NAME.fullmatch(host):
        raise AddressRefused("the host of the webhook URL is not a valid name")
    if _NUMERIC_END.fullmatch(host):
        # Only the plain dotted form is an address here; ipaddress refuses octal, hexadecimal, short and integer forms.
        literal = _allowed(host, policy)
        return str(literal), literal
    if host == "localhost" or host.endswith(".localhost"):
        _allow_any(("127.0.0.1", "::1"), policy)
    return host, None


def _ascii(host: str) -> str:
    if host.isascii():
        return host.lower()
    refusal = AddressRefused("the host of the webhook URL is ambiguous; write its xn-- form")
    # Letters that a mapping turns into others (full-width digits and dots, the Kelvin sign, invisible characters) mean
    # one host to the reader and another to the resolver.
    if len(host) > MAX_HOST or any(map(_is_lookalike, host)):
        raise refusal
    try:
        encoded = host.lower().encode("idna")
        survives = encoded.decode("idna") == host.lower()
    except UnicodeError:
        raise refusal from None
    if not survives:
        raise refusal
    return encoded.decode("ascii")


def _is_lookalike(letter: str) -> bool:
    return not letter.isascii() and (letter.isdigit() or letter.lower().isascii())


def _allow_any(candidates: Iterable[str], policy: Policy) -> None:
    if not any(ip_address(text) in network for text in candidates for network in policy.allow_networks):
        raise AddressRefused("webhooks may not be sent to localhost")


def _allowed(text: str, policy: Policy) -> IPv4Address | IPv6Address:
    try:
        # A zone id names an interface of this machine: never a receiver's business.
        address = None if "%" in text else ip_address(text)
    except ValueError:
        address = None
    if address is None:
        raise AddressRefused("the address of the webhook URL cannot be read: write it in its plain form")
    if any(address in network for network in policy.allow_networks):
        return address
    use = special_use(address)
    if use is not None:
        # Not which address: whoever may ask could else have the names of this network looked up.
        raise AddressRefused(f"webhooks may not be sent to an address of this kind ({use})")
    return address
