"""Which addresses a storage element may have. Element URLs are operator input, and the process that
follows them sits inside the network, so the answer is given twice: for the URL when it is entered,
and for the resolved address at every single connect, since names can change what they mean.
"""

import ipaddress
import re
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.utils.translation import gettext_lazy as _

from apps.registry.errors import ElementUrlRefused

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_URL_CHARACTERS = 500
# Cloud metadata services outside the link-local range, which is refused as a whole.
_METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in ("100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254")
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_SHARED = ipaddress.ip_network("100.64.0.0/10")
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]+\]")


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """What the settings open beyond public addresses."""

    allow_private: bool
    allow_loopback: bool
    allow_plain_http: bool

    def check(self, host: str, address: str) -> None:
        """Raise `ElementUrlRefused` unless `address`, which `host` resolved to, may be used."""
        reason = self._objection(_unwrap(ipaddress.ip_address(address.split("%", maxsplit=1)[0])))
        if reason is not None:
            raise _refused(host, reason)

    def _objection(self, ip: IpAddress) -> str | None:
        if ip.is_loopback:
            return None if self.allow_loopback else str(_("it is a loopback address"))
        if ip in _METADATA or ip.is_link_local:
            return str(_("it is a link-local or metadata address"))
        if ip.is_multicast or ip.is_unspecified or ip.is_reserved:
            return str(_("it is not the address of one machine"))
        if ip.is_private or (ip.version == 4 and ip in _SHARED):
            return None if self.allow_private else str(_("it is a private address"))
        if not ip.is_global:
            return str(_("it is a reserved address"))
        return None


def normalise_url(url: str, policy: AddressPolicy) -> str:
    """`scheme://host[:port]` of an element URL; `ElementUrlRefused` for any other kind of URL."""
    if len(url) > MAX_URL_CHARACTERS or not url.isascii() or not url.isprintable():
        raise _refused(url[:80], str(_("it is too long or holds unusual characters")))
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError as failure:
        raise _refused(url, str(_("it is not a URL"))) from failure
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    if parts.username is not None or parts.password is not None:
        # Never repeated in the message: it may hold a password.
        raise _refused(host, str(_("it holds a user name or password")))
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise _refused(url, str(_("it has more than scheme, host and port")))
    if not _HOST.fullmatch(host) or port == 0:
        raise _refused(url, str(_("its host or port is not valid")))
    if parts.scheme != "https" and not _plain_allowed(parts.scheme, host, policy):
        raise _refused(url, str(_("only https is accepted")))
    return f"{parts.scheme}://{host.lower()}" + (f":{port}" if port else "")


def _plain_allowed(scheme: str, host: str, policy: AddressPolicy) -> bool:
    if scheme != "http" or not policy.allow_plain_http:
        return False
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def connect(host: str, port: int, timeout: float | None, policy: AddressPolicy) -> socket.socket:
    """A TCP connection to the first address of `host` that answers.

    All addresses are checked before one is tried: a name that also points somewhere forbidden is
    not a name to trust. Raises `OSError` as sockets do, `ElementUrlRefused` for the policy.
    """
    found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    for *_rest, address in found:
        policy.check(host, str(address[0]))
    failure: OSError | None = None
    for family, kind, protocol, _name, address in found:
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(timeout)
            sock.connect(address)
        except OSError as problem:
            sock.close()
            failure = problem
        else:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
    raise failure or OSError(f"{host} has no address")


def reached(host: str, port: int, timeout: float | None, policy: AddressPolicy) -> str:
    """The address of `host` that answers now, for somebody else to connect to in our place."""
    with connect(host, port, timeout, policy) as sock:
        return str(sock.getpeername()[0])


def _unwrap(ip: IpAddress) -> IpAddress:
    """The IPv4 address an IPv6 one stands for, where it does."""
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        return inner or ip
    return ip


def _refused(shown: str, reason: str) -> ElementUrlRefused:
    return ElementUrlRefused(
        _("The address %(address)s was refused: %(reason)s.") % {"address": shown, "reason": reason}
    )
