"""Which requests are answered: those with an allowed Host header, from the page itself.

Every web site that the user has open can send requests to a server on this machine, in two ways:

=================================================  ============================================================
attack                                             what stops it
=================================================  ============================================================
a form of the other site posts to 127.0.0.1        Origin, Sec-Fetch-Site, and a header that forms cannot send
a foreign host name that points to this machine    the Host header, which holds the foreign name
(DNS rebinding)
=================================================  ============================================================

The security headers tell the browser to load nothing from elsewhere and not to show the page inside another one.
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
    """Which Host headers are allowed: localhost, loopback addresses, `names`, and with `any_address` every IP address.

    No attacker can make an IP address point elsewhere, as is possible with a name. A page that is open to the network may
    therefore be opened by any IP address of the machine.
    """

    names: frozenset[str] = frozenset()
    any_address: bool = False

    @classmethod
    def of(cls, names: Iterable[str], any_address: bool) -> AllowedHosts:
        """Make the value from host names that a user typed: upper case and a final dot do not matter."""
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
    """The reason why a request is refused, or None when it is allowed. `headers` have names in lower case."""
    host = headers.get("host", "")
    if host not in hosts:
        return (
            f"This page is not served under the host name {host[:100]!r}. Use the address that slimyolo serve printed, or "
            "start it with --allow-host NAME."
        )
    if "transfer-encoding" in headers and "content-length" in headers:
        return "A request states its length once: by Content-Length, or by Transfer-Encoding."
    if any(word.strip().lower() == "websocket" for word in headers.get("upgrade", "").split(",")):
        return "This page answers plain HTTP requests only; it has no websockets. Leave the Upgrade header out."
    if method in SAFE_METHODS:
        return None
    origin = headers.get("origin")
    if origin is not None and _origin_place(origin) != host.lower():
        return "Requests from other sites are refused."
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return "Requests from other sites are refused."
    if OWN_HEADER not in headers:
        return f"The header {OWN_HEADER} is missing. The page sends it to prove that no other site made the request."
    return None


def _origin_place(header: str) -> str | None:
    """``host:port`` of an Origin header in lower case; None when the header is no URL."""
    try:
        return urlsplit(header).netloc.lower()
    except ValueError:
        return None


def _host_name(header: str) -> str | None:
    """The host of a Host header in lower case, without the port; None when the header is not valid."""
    try:
        parts = urlsplit(f"//{header}")
        _ = parts.port  # raises ValueError when the port is not a number
        if parts.username is not None or parts.path or parts.query or parts.fragment:
            return None
    except ValueError:
        return None
    return parts.hostname.rstrip(".") if parts.hostname else None
