"""Network: an address, or a network of them, of IPv4 or IPv6: read strictly, written one way only, and which of them are ours."""

import array
import fcntl
import socket
import struct
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path

Network = IPv4Network | IPv6Network
"""An address is a network of one: all its bits are the prefix."""

IPV4 = 4
_MAPPED = 96  # bits before the IPv4 address in ::ffff:0:0/96 (RFC 4291 2.5.5.2)
_SIOCGIFCONF = 0x8912  # netdevice(7)
_IFREQ = 40 if struct.calcsize("P") == 8 else 32  # noqa: PLR2004 - bytes: a name of 16, and a union as large as its largest member
_MOST = 1024  # addresses of one machine
_IF_INET6 = Path("/proc/net/if_inet6")


def parse_network(text: str) -> Network:
    """Read an address or a network; an IPv4 address that is written as one of IPv6 is the IPv4 one. Raises ValueError."""
    word = text.strip()[:64]
    try:
        network = ip_network(word.replace("%", "!"), strict=False)  # no zone of a link
        exact = ip_address(word.partition("/")[0]) == network.network_address
    except ValueError:
        raise ValueError(f"{word!r} is no address: write one as 203.0.113.7 or 203.0.113.0/24") from None
    if not exact:
        raise ValueError(f"{word} starts within its network: write {network}")
    first = network.network_address
    if isinstance(first, IPv6Address) and first.ipv4_mapped and network.prefixlen >= _MAPPED:
        return IPv4Network((first.ipv4_mapped, network.prefixlen - _MAPPED))
    return network


def written(network: Network) -> str:
    """Write an address without a prefix, and a network with one."""
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)


def overlap(one: Network, other: Network) -> bool:
    """Tell whether there is an address that both hold."""
    if isinstance(one, IPv4Network):
        return isinstance(other, IPv4Network) and one.overlaps(other)
    return isinstance(other, IPv6Network) and one.overlaps(other)


def own_networks() -> list[Network]:
    """Return the addresses of this machine's interfaces. Raises OSError where the kernel does not tell."""
    return [*_own_ipv4(), *_own_ipv6()]


def _own_ipv4() -> list[Network]:
    room = array.array("B", bytes(_IFREQ * _MOST))
    place, length = room.buffer_info()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        answer = fcntl.ioctl(asked, _SIOCGIFCONF, struct.pack("iP", length, place))
    used = struct.unpack("iP", answer)[0]
    return [IPv4Network(bytes(room[at + 20 : at + 24])) for at in range(0, used, _IFREQ)]


def _own_ipv6() -> list[Network]:
    """Read proc(5), /proc/net/if_inet6, which is not there where IPv6 is switched off."""
    try:
        lines = _IF_INET6.read_text().splitlines()
    except FileNotFoundError:
        return []
    return [IPv6Network(bytes.fromhex(line[:32])) for line in lines if len(line) > 32]  # noqa: PLR2004 - hex digits
