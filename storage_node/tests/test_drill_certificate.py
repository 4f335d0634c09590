"""A renewed certificate is taken up without a restart, and one that does not fit is left alone."""

import socket
import ssl
import threading
from pathlib import Path

import pytest

from storage_node.tests.conftest import MakeNode, eventually
from storage_node.tests.drill_report import say
from storage_node.tests.node_process import Certificates, NodeProcess
from storage_node.tests.raw_client import connected, head
from storage_node.tls import ServerTls


def renew(current: Certificates, fresh: Certificates) -> None:
    """What certbot does: the files are replaced."""
    for old, new in ((current.key, fresh.key), (current.cert, fresh.cert)):
        beside = old.with_suffix(".new")
        beside.write_bytes(new.read_bytes())
        beside.rename(old)


def seen_by(port: int) -> str:
    """The certificate a new connection is shown, as PEM."""
    return ssl.get_server_certificate(("127.0.0.1", port), timeout=20)


def pem(path: Path) -> str:
    return path.read_text().strip()


def shown(tls: ServerTls) -> str:
    """The certificate the context gives to one connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            plain, _ = listener.accept()
            with tls.context.wrap_socket(plain, server_side=True) as connection:
                connection.recv(1)

        answering = threading.Thread(target=answer, daemon=True)
        answering.start()
        found = seen_by(listener.getsockname()[1])
        answering.join(20)
    return found.strip()


def test_a_renewed_certificate_is_shown_to_new_connections(tmp_path: Path) -> None:
    current, fresh = Certificates.make(tmp_path / "a"), Certificates.make(tmp_path / "b")
    tls = ServerTls(current.cert, current.key)
    before = shown(tls)
    assert before == pem(current.cert)
    renew(current, fresh)
    tls.reload_if_changed()
    assert shown(tls) == pem(fresh.cert) != before


@pytest.mark.parametrize("broken", ["cert", "key"])
def test_a_half_replaced_pair_is_left_alone_until_it_fits(tmp_path: Path, broken: str) -> None:
    current, fresh = Certificates.make(tmp_path / "a"), Certificates.make(tmp_path / "b")
    tls = ServerTls(current.cert, current.key)
    before = shown(tls)
    # One of the two files is there already, the other not yet.
    getattr(current, broken).write_bytes(getattr(fresh, broken).read_bytes())
    tls.reload_if_changed()
    assert shown(tls) == before
    renew(current, fresh)
    tls.reload_if_changed()
    assert shown(tls) == pem(fresh.cert)


def test_a_certificate_that_is_gone_or_garbage_keeps_the_one_in_use(tmp_path: Path) -> None:
    current = Certificates.make(tmp_path / "a")
    tls = ServerTls(current.cert, current.key)
    before = shown(tls)
    current.cert.write_text("garbage")
    tls.reload_if_changed()
    current.cert.unlink()
    tls.reload_if_changed()
    assert shown(tls) == before


def renewed(node: NodeProcess, fresh: Certificates) -> None:
    with connected(node) as old_connection:
        renew(node.certificates, fresh)
        eventually(lambda: seen_by(node.port).strip() == pem(fresh.cert), 60)
        # Whoever was connected goes on with what it began with.
        old_connection.send(head("GET", "/health/live", {}))
        assert old_connection.read_answer().status == 200


@pytest.mark.drill
def test_a_running_node_takes_up_a_renewed_certificate_within_half_a_minute(
    make_node: MakeNode, tmp_path: Path
) -> None:
    own = Certificates.make(tmp_path / "own")
    node = make_node(start=False)
    node.certificates = own
    node.start()
    assert node.process is not None
    pid = node.process.pid
    renewed(node, Certificates.make(tmp_path / "fresh"))
    assert node.process.poll() is None
    assert node.process.pid == pid
    say(
        "certificate: renewed on disk, shown to new connections without a restart, old connection kept"
    )
