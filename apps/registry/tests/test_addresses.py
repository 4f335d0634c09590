"""Which addresses elements may have: by their URL, and by what the name resolves to at each connect."""

import socket
from typing import Any

import pytest

from apps.registry import addresses
from apps.registry.addresses import AddressPolicy
from apps.registry.errors import ElementUrlRefused
from apps.registry.node_client import NodeAddress, NodeClient
from apps.registry.tests.scripted import ScriptedServer
from storage_node.tests.node_process import Certificates

CLOSED = AddressPolicy(allow_private=False, allow_loopback=False, allow_plain_http=False)
OPEN = AddressPolicy(allow_private=True, allow_loopback=True, allow_plain_http=True)


@pytest.mark.parametrize(
    "url",
    [
        "http://node.example",
        "http://8.8.8.8:8010",
        "http://[::ffff:8.8.8.8]",
        "ftp://node.example",
        "file:///etc/passwd",
        "//node.example",
        "node.example:8010",
        "https://",
        "https://user@node.example",
        "https://user:secret@node.example",
        "https://node.example/path",
        "https://node.example/?q=1",
        "https://node.example/#part",
        "https://node.example:0",
        "https://node.example:99999",
        "https://node.example:port",
        "https://[::1",
        "https://no de.example",
        "https://nöde.example",
        "https://node.example\r\nHost: other",
        "https://node.example\\@other.example",
        "https://" + "x" * 600,
    ],
)
def test_urls_that_are_no_node_address_are_refused(url: str) -> None:
    with pytest.raises(ElementUrlRefused) as caught:
        addresses.normalise_url(url, OPEN)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("https://Node.Example/", "https://node.example"),
        ("https://node.example:8010", "https://node.example:8010"),
        ("https://[2001:DB8::1]:8010/", "https://[2001:db8::1]:8010"),
        ("http://127.0.0.1:8010", "http://127.0.0.1:8010"),
        ("http://localhost:8010", "http://localhost:8010"),
    ],
)
def test_urls_are_kept_in_one_form(url: str, normal: str) -> None:
    assert addresses.normalise_url(url, OPEN) == normal


def test_plain_http_needs_its_setting_even_on_loopback() -> None:
    with pytest.raises(ElementUrlRefused):
        addresses.normalise_url("http://127.0.0.1:8010", CLOSED)


NEVER = [
    "169.254.169.254",
    "169.254.0.1",
    "fe80::1",
    "fe80::1%eth0",
    "fd00:ec2::254",
    "100.100.100.200",
    "168.63.129.16",
    "0.0.0.0",
    "::",
    "224.0.0.1",
    "ff02::1",
    "255.255.255.255",
    "240.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
]
PRIVATE = ["10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fc00::1", "::ffff:10.0.0.1"]
LOOPBACK = ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"]
PUBLIC = ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946"]


@pytest.mark.parametrize("address", NEVER)
def test_link_local_metadata_and_odd_addresses_are_refused_whatever_the_settings(
    address: str,
) -> None:
    with pytest.raises(ElementUrlRefused):
        OPEN.check("node.example", address)


@pytest.mark.parametrize("address", [*PRIVATE, *LOOPBACK])
def test_private_and_loopback_addresses_are_refused_unless_opened(address: str) -> None:
    with pytest.raises(ElementUrlRefused):
        CLOSED.check("node.example", address)
    OPEN.check("node.example", address)


def test_opening_private_addresses_does_not_open_loopback() -> None:
    policy = AddressPolicy(allow_private=True, allow_loopback=False, allow_plain_http=False)
    policy.check("node.example", "10.0.0.1")
    with pytest.raises(ElementUrlRefused):
        policy.check("node.example", "127.0.0.1")


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_accepted(address: str) -> None:
    CLOSED.check("node.example", address)


def resolving(monkeypatch: pytest.MonkeyPatch, *found: str) -> None:
    """Names resolve to these addresses from now on."""

    def getaddrinfo(_host: str, port: int, **_options: Any) -> list[Any]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port))
            for address in found
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def test_a_name_that_comes_to_mean_a_forbidden_address_is_refused_at_the_next_connect(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.ARTSTORE_ALLOW_LOOPBACK_ELEMENTS = True
    client = NodeClient(NodeAddress("https://node.example:8010"), "secret-token")
    resolving(monkeypatch, "169.254.169.254")
    with pytest.raises(ElementUrlRefused, match="link-local or metadata"):
        client.get_info()


def test_a_name_with_one_forbidden_address_among_good_ones_is_refused(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer(certificates, lambda _line: None) as server:
        resolving(monkeypatch, "127.0.0.1", "169.254.169.254")
        address = NodeAddress(f"https://localhost:{server.port}")
        with pytest.raises(ElementUrlRefused):
            NodeClient(address).get_info()
        assert server.lines == []


def test_the_next_address_of_a_name_is_tried_when_one_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        resolving(monkeypatch, "127.0.0.2", "127.0.0.1")
        port = listener.getsockname()[1]
        with addresses.connect("node.example", port, 5, OPEN) as connected:
            assert connected.getpeername() == ("127.0.0.1", port)
