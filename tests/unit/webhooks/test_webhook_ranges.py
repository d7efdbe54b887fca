"""The address guard on addresses: every range of special use, its first and last neighbours, and mixed answers."""

from ipaddress import ip_network

import pytest

from worker.errors import AddressRefused
from worker.webhooks.address import Policy, check_url, vet

STRICT = Policy()

PUBLIC = [
    "93.184.215.14",
    "1.1.1.1",
    "172.15.255.255",
    "172.32.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "223.255.255.255",
]
PUBLIC_V6 = ["2606:4700:4700::1111", "2a00:1450:4001:80b::200e", "2001:4860:4860::8888", "2003::1", "2400:cb00::1"]

# Each address with the use it is refused for.
REFUSED = {
    "0.0.0.0": "this network",
    "0.1.2.3": "this network",
    "10.0.0.1": "private",
    "10.255.255.255": "private",
    "100.64.0.0": "carrier-grade NAT",
    "100.100.100.200": "carrier-grade NAT",
    "100.127.255.255": "carrier-grade NAT",
    "127.0.0.1": "loopback",
    "127.255.255.255": "loopback",
    "168.63.129.16": "a cloud platform's own",
    "169.254.0.0": "link-local",
    "169.254.169.254": "link-local",
    "172.16.0.0": "private",
    "172.31.255.255": "private",
    "192.0.0.1": "reserved for protocols",
    "192.0.0.170": "reserved for protocols",
    "192.0.0.192": "reserved for protocols",
    "192.0.2.1": "documentation",
    "192.31.196.0": "a sink of DNS",
    "192.52.193.255": "a multicast relay",
    "192.88.99.1": "a 6to4 relay",
    "192.168.0.1": "private",
    "192.168.255.255": "private",
    "192.175.48.1": "a sink of DNS",
    "198.18.0.1": "benchmarking",
    "198.19.255.255": "benchmarking",
    "198.51.100.1": "documentation",
    "203.0.113.1": "documentation",
    "224.0.0.1": "multicast",
    "239.255.255.255": "multicast",
    "240.0.0.1": "reserved",
    "255.255.255.255": "reserved",
}
REFUSED_V6 = {
    "::": "unspecified",
    "::1": "loopback",
    "::127.0.0.1": "not global unicast",
    "::8.8.8.8": "not global unicast",
    "::ffff:127.0.0.1": "IPv4-mapped",
    "::ffff:10.0.0.1": "IPv4-mapped",
    "::ffff:8.8.8.8": "IPv4-mapped",
    "::ffff:0:8.8.8.8": "not global unicast",
    "64:ff9b::169.254.169.254": "NAT64",
    "64:ff9b::8.8.8.8": "NAT64",
    "64:ff9b:1::1": "NAT64",
    "100::1": "not global unicast",
    "100:0:0:1::1": "not global unicast",
    "2001::1": "Teredo",
    "2001:0:53aa:64c:0:0:0:1": "Teredo",
    "2001:2::1": "reserved for protocols",
    "2001:10::1": "reserved for protocols",
    "2001:20::1": "reserved for protocols",
    "2001:db8::1": "documentation",
    "2002:7f00:1::": "6to4",
    "2002:808:808::1": "6to4",
    "2620:4f:8000::1": "a sink of DNS",
    "3fff::1": "documentation",
    "3fff:fff::1": "documentation",
    "4000::1": "not global unicast",
    "5f00::1": "not global unicast",
    "fc00::1": "unique local",
    "fd00:ec2::254": "unique local",
    "fe80::1": "link-local",
    "febf::1": "link-local",
    "fec0::1": "site-local",
    "ff02::1": "multicast",
}

# The blocks of IANA's special-purpose registries, and of multicast and the old site-local, whatever they call global.
REGISTERED = """
0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.0.0/29 192.0.0.8/32
192.0.0.9/32 192.0.0.10/32 192.0.0.170/31 192.0.2.0/24 192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 192.168.0.0/16
192.175.48.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4 255.255.255.255/32
::/128 ::1/128 ::/96 ::ffff:0:0/96 64:ff9b::/96 64:ff9b:1::/48 100::/64 100:0:0:1::/64 2001::/23 2001::/32 2001:1::/32
2001:2::/48 2001:3::/32 2001:4:112::/48 2001:10::/28 2001:20::/28 2001:30::/28 2001:db8::/32 2002::/16
2620:4f:8000::/48 3fff::/20 5f00::/16 fc00::/7 fe80::/10 fec0::/10 ff00::/8
"""


@pytest.mark.parametrize("block", REGISTERED.split())
def test_no_block_of_the_registries_is_open_at_either_end(block: str) -> None:
    network = ip_network(block)

    for address in (network.network_address, network.broadcast_address):
        with pytest.raises(AddressRefused):
            vet([str(address)], STRICT)


@pytest.mark.parametrize("address", PUBLIC + PUBLIC_V6)
def test_a_public_address_passes(address: str) -> None:
    assert vet([address], STRICT) == (address,)


@pytest.mark.parametrize(("address", "use"), [*REFUSED.items(), *REFUSED_V6.items()])
def test_an_address_of_special_use_is_refused_with_its_use(address: str, use: str) -> None:
    with pytest.raises(AddressRefused, match=rf"\({use}\)"):
        vet([address], STRICT)


@pytest.mark.parametrize("address", REFUSED)
def test_a_url_with_such_an_ipv4_address_is_refused_at_once(address: str) -> None:
    with pytest.raises(AddressRefused, match="may not be sent"):
        check_url(f"https://{address}/hook", STRICT)


@pytest.mark.parametrize("address", REFUSED_V6)
def test_a_url_with_such_an_ipv6_address_is_refused_at_once(address: str) -> None:
    with pytest.raises(AddressRefused, match="may not be sent"):
        check_url(f"https://[{address}]/hook", STRICT)


@pytest.mark.parametrize("position", [0, 1, 2])
def test_one_private_address_among_public_ones_refuses_the_name(position: int) -> None:
    addresses = ["93.184.215.14", "2606:4700:4700::1111"]
    addresses.insert(position, "10.0.0.1")

    with pytest.raises(AddressRefused, match=r"\(private\)"):
        vet(addresses, STRICT)


def test_a_refusal_does_not_tell_what_a_name_leads_to() -> None:
    with pytest.raises(AddressRefused) as refusal:
        vet(["10.20.30.40"], STRICT)

    assert "10.20" not in str(refusal.value)


@pytest.mark.parametrize("address", ["", "fe80::1%eth0", "2606:4700:4700::1111%1", "1.1.1", "01.1.1.1", "one.one"])
def test_an_address_that_cannot_be_read_is_refused(address: str) -> None:
    with pytest.raises(AddressRefused, match="cannot be read"):
        vet([address], STRICT)


def test_no_address_at_all_is_refused() -> None:
    with pytest.raises(AddressRefused):
        vet([], STRICT)


def test_vetted_addresses_come_back_once_and_in_order() -> None:
    vetted = vet(["2606:4700:4700:0:0:0:0:1111", "1.1.1.1", "1.1.1.1"], STRICT)

    assert vetted == ("2606:4700:4700::1111", "1.1.1.1")
