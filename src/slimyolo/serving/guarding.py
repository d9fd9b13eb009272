"""Who may talk to the page: the right Host, the same origin, and answers that a browser cannot be tricked with.

A page on this machine can be reached by every web site that the user has open: by a plain form post to 127.0.0.1, or by
a host name that is made to point there (DNS rebinding). The first is stopped by Origin, Sec-Fetch-Site and a header that
forms cannot send; the second by the Host header, which names the foreign host.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

__all__ = ["OWN_HEADER", "SECURITY_HEADERS", "AllowedHosts", "why_refused"]

OWN_HEADER = "x-slimyolo"
SAFE_METHODS = ("GET", "HEAD")

SECURITY_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class AllowedHosts:
    """Which Host headers are answered: loopback names and addresses, `names`, and with `any_address` every IP address.

    An IP address cannot be made to point elsewhere, so a page that is open to the network may be called by any of its own.
    """

    names: frozenset[str] = frozenset()
    any_address: bool = False

    @classmethod
    def of(cls, names: Iterable[str], any_address: bool) -> AllowedHosts:
        """From the host names that a user gives."""
        return cls(frozenset(name.lower().rstrip(".") for name in names), any_address)

    def __contains__(self, header: object) -> bool:
        host = _host_name(str(header))
        if host is None:
            return False
        if host == "localhost" or host in self.names:
            return True
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return self.any_address or address.is_loopback


def why_refused(method: str, headers: Mapping[str, str], hosts: AllowedHosts) -> str | None:
    """Why a request is refused, in words; None when it may pass. `headers` by lower-case name."""
    host = headers.get("host", "")
    if host not in hosts:
        return (
            f"This page is not served under the host name {host[:100]!r}. Use the address that slimyolo serve printed, or "
            "start it with --allow-host NAME."
        )
    if method in SAFE_METHODS:
        return None
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
        return "Requests from other sites are refused."
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return "Requests from other sites are refused."
    if OWN_HEADER not in headers:
        return f"The header {OWN_HEADER} is missing: it is how the page proves that no other site sent the request."
    return None


def _host_name(header: str) -> str | None:
    """The host of a Host header without its port, lower-case; None when it is not one."""
    try:
        parts = urlsplit(f"//{header}")
        _ = parts.port  # raises when it is no number
        if parts.username is not None or parts.path or parts.query or parts.fragment:
            return None
    except ValueError:
        return None
    return parts.hostname.rstrip(".") if parts.hostname else None
