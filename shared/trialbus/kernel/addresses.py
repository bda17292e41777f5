"""Addresses of machines."""

import ipaddress


def is_loopback(host: str) -> bool:
    """host: a name or an address, without port."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
