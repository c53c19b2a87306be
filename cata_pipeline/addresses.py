"""Which network addresses the pipeline may connect to: one judgement, made on the numeric address.

Hosts are named by third parties (picture URLs) or by configuration (provider URLs), so what counts is
the address a socket is about to connect to, never the spelling of a host. Both HTTP clients ask here at
connect time: `cata_pipeline.images` where it makes a socket, `cata_pipeline.providers` through httpcore's
network backend.
"""

import functools
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from cata_pipeline.settings import Endpoint, Network

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_DENIED: tuple[Network, ...] = tuple(
    ipaddress.ip_network(text)
    for text in (
        # `is_global` is True for these, although no public picture lives there.
        "192.0.0.0/24",  # IETF protocol assignments; 192.0.0.192 is a cloud metadata service
        "168.63.129.16/32",  # a cloud's wire server
        "192.88.99.0/24",  # 6to4 relays
        "224.0.0.0/4",
        "240.0.0.0/4",
        "2001::/32",  # Teredo, which carries an IPv4 address
        "2002::/16",  # 6to4, likewise
        "3fff::/20",  # documentation
    )
)
# Nothing public is numbered outside of it: that alone keeps out `::a.b.c.d`, both NAT64 prefixes, translated
# addresses (`::ffff:0:a.b.c.d`), the old site-local ones, and whatever is set aside next.
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_ISATAP = (0x00005EFE, 0x02005EFE)
WEB_PORTS = frozenset({80, 443})


class AddressDeniedError(OSError):
    """The address may not be reached; a permanent verdict, so it is never retried.

    An `OSError`, because HTTP clients wrap exactly those into their own connection errors. The message
    does not name the address: it may be shown to people who should not learn what answers inside.
    """

    def __init__(self) -> None:
        super().__init__("address not allowed")


@dataclass(frozen=True)
class AddressPolicy:
    """Public addresses on ports 80 and 443 outside `denied_networks`, and exactly the `allowed` pairs beside them.

    `denied_networks` are public by their number and private all the same, which no table can know: a provider's own
    NAT64 prefix, public ranges used inside a cluster. A pair named in `allowed` is reached even there.
    """

    allowed: frozenset[Endpoint] = frozenset()
    denied_networks: tuple[Network, ...] = ()

    def check(self, address: str, port: int) -> None:
        """Raise `AddressDeniedError` unless a connection to this numeric address and port is allowed."""
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            raise AddressDeniedError from None
        if isinstance(parsed, ipaddress.IPv6Address):
            if parsed.scope_id is not None:
                raise AddressDeniedError
            parsed = parsed.ipv4_mapped or parsed
        if Endpoint(parsed, port) in self.allowed:
            return
        if port not in WEB_PORTS or not self._is_public(parsed):
            raise AddressDeniedError

    def admits_plain_http(self, host: str, port: int) -> bool:
        """Whether `host` is an address literal that was allowed by hand together with this port."""
        try:
            return Endpoint(_read(host.strip("[]")), port) in self.allowed
        except ValueError:
            return False

    def _is_public(self, address: Address) -> bool:
        if not address.is_global or address.is_multicast or _in_any(address, _DENIED):
            return False
        if isinstance(address, ipaddress.IPv6Address) and (
            address not in _GLOBAL_UNICAST or (int(address) >> 32) & 0xFFFFFFFF in _ISATAP
        ):
            return False
        return not _in_any(address, self.denied_networks)


# Asked for every picture, about the few hosts there are.
_read = functools.lru_cache(maxsize=1_024)(ipaddress.ip_address)


def _in_any(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks if network.version == address.version)
