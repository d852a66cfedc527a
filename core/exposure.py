"""Who may reach the service: without keys, only this machine."""

import ipaddress
from collections.abc import Mapping
from typing import Final

from core.settings import Settings

AUTH_NOTES: Final[Mapping[str, str]] = {
    "none": "No API key is asked for: everyone on this machine may do everything (WECOLORA_AUTH=keys changes that).",
    "keys": "Every request needs an API key; './run admin create-key --help' says how to make the first one.",
}
"""What is said at the start, by the setting `auth`."""


def serves_others(settings: Settings) -> bool:
    """Whether requests that come in by an address of the network are answered."""
    return settings.auth != "none" or settings.insecure_bind


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach that address."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
