"""Which addresses a webhook may reach: the public internet, and what the deployment allows.

A webhook makes the service send a request to where a user says. So that nobody reaches the deployment's own network
through it, the name is resolved here, every address that it stands for must be allowed, and the connection goes to
just those addresses, never by a second look-up of the name (`worker/webhooks.py`). This is done when an endpoint is
registered and again at each delivery, since a name may stand for something else by then.
"""

import ipaddress
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final
from urllib.parse import SplitResult, urlsplit

from core.errors import FieldProblem, InvalidFields
from core.settings import Settings

Address = IPv4Address | IPv6Address

FIELD: Final = "url"
LONGEST_URL: Final = 2000
PORTS: Final = {"https": 443, "http": 80}
# Unicast addresses that were given out (RFC 4291); loopback, local, multicast and reserved ones lie outside.
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
# Of IANA's registry of special addresses, those that Python counts as global or did until lately.
_SPECIAL: Final = tuple(
    map(ipaddress.ip_network, ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "3fff::/20"))
)
_NAT64: Final = IPv6Network("64:ff9b::/96")


class AddressRefused(Exception):
    """The host may not be reached; says why in words for the owner of the endpoint."""


@dataclass(frozen=True)
class Egress:
    """What may be reached.

    Attributes:
        networks: that are allowed although they are not public.
        hosts: names that are allowed whatever they stand for.
        http: whether TLS may be left out.
    """

    networks: tuple[IPv4Network | IPv6Network, ...]
    hosts: frozenset[str]
    http: bool

    @classmethod
    def from_settings(cls, settings: Settings) -> "Egress":
        """What the deployment allows."""
        networks, hosts = split_allowed(settings.webhook_allow)
        return cls(tuple(networks), frozenset(hosts), settings.webhook_http_allowed)

    def check_url(self, url: str) -> str:
        """Refuse a URL that no webhook can have; resolves its name.

        Returns:
            The URL as it is kept.

        Raises:
            InvalidFields: says what is wrong with `url`.
        """
        parsed = _parse(url)
        if parsed.scheme == "http" and not self.http:
            raise _refusal("messages are sent over TLS only here", "https://…", url)
        try:
            self.resolve(parsed.hostname or "", parsed.port or PORTS[parsed.scheme])
        except AddressRefused as error:
            raise _refusal(str(error), "a host on the public internet", url) from error
        return url

    def resolve(self, host: str, port: int) -> list[str]:
        """Every address of a host, all of them allowed.

        Raises:
            AddressRefused: there is none, or one of them is not allowed.
        """
        try:
            found = look_up(host, port)
        except (OSError, UnicodeError) as error:
            raise AddressRefused(f"the name {host!r} cannot be resolved") from error
        if host.lower().rstrip(".") not in self.hosts:
            for address in found:
                self._check(host, ipaddress.ip_address(address))
        return list(found)

    def _check(self, host: str, address: Address) -> None:
        if is_public(address) or any(address in network for network in self.networks):
            return
        # Not which address: a name that only the deployment can resolve would tell strangers about its network.
        raise AddressRefused(
            f"{host!r} is an address that is not on the public internet; an administrator can allow it by "
            "WECOLORA_WEBHOOK_ALLOW"
        )


def look_up(host: str, port: int) -> Sequence[str]:
    """The addresses that a name stands for, in the order in which they should be tried."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]).partition("%")[0] for *_, sockaddr in found))


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public internet, also one that stands for an IPv4 address."""
    if any(address in network for network in _SPECIAL):
        return False
    if isinstance(address, IPv6Address):
        embedded = _embedded(address)
        if embedded is not None:
            return is_public(embedded)
        return address in _GLOBAL_UNICAST and address.is_global
    return address.is_global and not address.is_multicast and not address.is_reserved


def split_allowed(entries: Iterable[str]) -> tuple[list[IPv4Network | IPv6Network], list[str]]:
    """Networks and single addresses, and names in lower case (the settings have checked them)."""
    networks: list[IPv4Network | IPv6Network] = []
    hosts: list[str] = []
    for entry in entries:
        try:
            networks.append(ipaddress.ip_network(entry))
        except ValueError:
            hosts.append(entry.lower().rstrip("."))
    return networks, hosts


def _embedded(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address to which packets for this one go in the end."""
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def _parse(url: str) -> SplitResult:
    if len(url) > LONGEST_URL or any(ord(char) <= 0x20 or ord(char) == 0x7F for char in url):
        raise _refusal("this is no URL", f"up to {LONGEST_URL} characters without spaces", url)
    try:
        parsed = urlsplit(url)
        host, port = parsed.hostname, parsed.port
    except ValueError as error:
        raise _refusal(f"this is no URL: {error}", "https://host/path", url) from error
    if parsed.scheme not in PORTS:
        raise _refusal("only https and http can be sent to", "https://host/path", url)
    if not host or port == 0 or not url.isascii():
        message = "it names no host" if url.isascii() else "write it in ASCII: %-escapes, names in Punycode"
        raise _refusal(message, "https://host/path", url)
    if parsed.username is not None or parsed.password is not None:
        raise _refusal("it may hold no user name or password", "https://host/path", None)
    if parsed.fragment:
        raise _refusal("a fragment is never sent", "https://host/path", url)
    return parsed


def _refusal(message: str, allowed: str, url: str | None) -> InvalidFields:
    shown = None if url is None or len(url) > LONGEST_URL else url
    return InvalidFields(FieldProblem(FIELD, message, allowed, shown))
