"""Which addresses may be reached: one row for each class that has ever slipped through somebody's guard."""

import ipaddress

import pytest

from cata_pipeline.addresses import AddressDeniedError, AddressPolicy
from cata_pipeline.settings import Endpoint

PUBLIC = (
    "8.8.8.8",
    "1.1.1.1",
    "93.184.215.14",
    "2606:4700:4700::1111",
    "2a00:1450:4001:81b::200e",
    # just outside a denied range
    "100.63.255.255",
    "100.128.0.1",
    "172.15.255.255",
    "172.32.0.1",
    "192.0.1.1",
    "168.63.129.15",
    "198.17.255.255",
    "198.20.0.1",
    "223.255.255.255",
    "2003::1",
)
DENIED = (
    # H1: private, loopback, link-local, shared, unspecified, reserved, multicast, broadcast, documentation
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.0.1",
    "100.64.0.1",
    "100.127.255.255",
    "0.0.0.0",  # noqa: S104 an address to deny, nothing binds to it
    "0.1.2.3",
    "198.18.0.1",
    "198.19.255.255",
    "192.0.2.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "192.88.99.1",
    "::",
    "::1",
    "fe80::1",
    "fc00::1",
    "fd00::1",
    "ff02::1",
    "ff0e::1",
    "2001:db8::1",
    "100::1",
    # H2: where clouds answer about themselves
    "169.254.169.254",
    "fd20:ce::254",
    "fd00:ec2::254",
    "192.0.0.192",
    "168.63.129.16",
    "100.100.100.200",
    # H3: IPv6 that carries IPv4, or is turned into it on the way
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:7f00:1",
    "::127.0.0.1",
    "::8.8.8.8",
    "2002:7f00:1::",
    "2002:808:808::1",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::7f00:1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "::ffff:0:127.0.0.1",
    "::ffff:0:8.8.8.8",
    "64:ff9b:ffff:ffff:ffff:ffff:ffff:ffff",
    "64:ff9b:1:ffff:ffff:ffff:ffff:ffff",
    "2606:4700::5efe:7f00:1",
    "2606:4700::200:5efe:7f00:1",
    "fec0::1",
    "fe80::1%lo",
    "feff:ffff::1",
    "2606:4700:4700::1111%eth0",
    "2606:4700:4700::1111%0",
    # neither set aside by name nor handed out: outside of 2000::/3
    "64:ff9c::1",
    "1fff:ffff::1",
    "4000::1",
    "5f00::1",
    # documentation and benchmarks
    "3fff::1",
    "3fff:fff:ffff::1",
    "2001:2::1",
    "2001:10::1",
)
# H4: spellings that a resolver may understand; what reaches a socket is numeric, so here they are no addresses.
SPELLINGS = (
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "127.1",
    "0",
    "127。0。0。1",
    "①②⑦.⓪.⓪.①",
    "127.0.0.1.",
    "[::1]",
    "localhost",
    "",
)


@pytest.mark.parametrize("address", PUBLIC)
@pytest.mark.parametrize("port", [80, 443])
def test_public_addresses_are_reached_on_the_ports_of_the_web(address: str, port: int) -> None:
    AddressPolicy().check(address, port)


@pytest.mark.parametrize("address", DENIED)
def test_no_other_address_is_reached(address: str) -> None:
    with pytest.raises(AddressDeniedError):
        AddressPolicy().check(address, 443)


@pytest.mark.parametrize("address", SPELLINGS)
def test_what_is_no_plain_numeric_address_is_denied(address: str) -> None:
    with pytest.raises(AddressDeniedError):
        AddressPolicy().check(address, 443)


def test_a_mapped_address_counts_as_the_one_it_carries() -> None:
    AddressPolicy().check("::ffff:8.8.8.8", 443)


@pytest.mark.parametrize("port", [0, 22, 25, 81, 444, 5432, 6379, 8080, 8443])
def test_no_other_port_is_reached(port: int) -> None:
    with pytest.raises(AddressDeniedError):
        AddressPolicy().check("8.8.8.8", port)


def endpoint(address: str, port: int) -> Endpoint:
    return Endpoint(ipaddress.ip_address(address), port)


LOCAL = AddressPolicy(allowed=frozenset({endpoint("127.0.0.1", 8080), endpoint("::1", 9000)}))


@pytest.mark.parametrize(("address", "port"), [("127.0.0.1", 8080), ("::ffff:127.0.0.1", 8080), ("::1", 9000)])
def test_an_allowed_pair_is_reached(address: str, port: int) -> None:
    LOCAL.check(address, port)


@pytest.mark.parametrize(
    ("address", "port"),
    [
        ("127.0.0.1", 80),
        ("127.0.0.1", 8081),
        ("127.0.0.1", 9000),
        ("127.0.0.2", 8080),
        ("::1", 8080),
        ("::1%lo", 9000),
        ("8.8.8.8", 8080),
    ],
)
def test_an_allowed_pair_allows_nothing_beside_it(address: str, port: int) -> None:
    with pytest.raises(AddressDeniedError):
        LOCAL.check(address, port)


@pytest.mark.parametrize(
    ("host", "port", "admitted"),
    [
        ("127.0.0.1", 8080, True),
        ("[::1]", 9000, True),
        ("127.0.0.1", 80, False),
        ("127.0.0.2", 8080, False),
        ("localhost", 8080, False),
        ("pos.example", 80, False),
    ],
)
def test_plain_http_is_admitted_for_allowed_literals_only(host: str, port: int, *, admitted: bool) -> None:
    assert LOCAL.admits_plain_http(host, port) is admitted


def test_networks_of_our_own_choice_are_denied_too() -> None:
    policy = AddressPolicy(
        denied_networks=(ipaddress.ip_network("93.184.215.0/24"), ipaddress.ip_network("2a00:1450::/32"))
    )
    for address in ("93.184.215.14", "::ffff:93.184.215.14", "2a00:1450:4001:81b::200e"):
        with pytest.raises(AddressDeniedError):
            policy.check(address, 443)
    policy.check("93.184.216.14", 443)


def test_an_allowed_pair_is_reached_even_inside_a_denied_network() -> None:
    policy = AddressPolicy(
        allowed=frozenset({endpoint("34.118.224.7", 8080)}), denied_networks=(ipaddress.ip_network("34.118.224.0/20"),)
    )
    policy.check("34.118.224.7", 8080)
    for address, port in (("34.118.224.7", 443), ("34.118.224.8", 8080)):
        with pytest.raises(AddressDeniedError):
            policy.check(address, port)


def test_a_denial_does_not_tell_what_was_asked_for() -> None:
    with pytest.raises(AddressDeniedError) as caught:
        AddressPolicy().check("169.254.169.254", 80)
    assert str(caught.value) == "address not allowed"


def test_a_denial_is_an_os_error_so_that_clients_wrap_it() -> None:
    assert issubclass(AddressDeniedError, OSError)
