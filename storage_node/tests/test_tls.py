"""The certificate is taken up again when its files change, so that renewal needs no restart; one that does not fit is left alone."""

import asyncio
import shutil
import ssl
from pathlib import Path

import pytest
from cryptography import x509

from storage_node.config import ConfigInvalid
from storage_node.tests.node_process import Certificates
from storage_node.tls import ServerTls


def installed(made: Certificates, directory: Path) -> tuple[Path, Path]:
    """Puts a certificate and its key where a node reads them, each in one step, as a renewal does."""
    places = directory / "node.pem", directory / "node.key"
    for source, place in zip((made.cert, made.key), places, strict=True):
        fresh = place.with_suffix(".new")
        shutil.copy(source, fresh)
        fresh.replace(place)
    return places


def serial(path: Path) -> int:
    return x509.load_pem_x509_certificate(path.read_bytes()).serial_number


def served(context: ssl.SSLContext) -> int:
    """The serial number of the certificate that a handshake with this context shows."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(down, up),
        context.wrap_bio(up, down, server_side=True),
    ]
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    shown = ends[0].getpeercert(binary_form=True)
    assert shown is not None
    return x509.load_der_x509_certificate(shown).serial_number


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Certificates, Certificates]:
    return Certificates.make(tmp_path / "old"), Certificates.make(tmp_path / "new")


def test_a_renewed_certificate_is_served_without_a_restart(
    tmp_path: Path, pair: tuple[Certificates, Certificates]
) -> None:
    old, new = pair
    tls = ServerTls(*installed(old, tmp_path))
    assert served(tls.context) == serial(old.cert)
    tls.reload_if_changed()
    assert served(tls.context) == serial(old.cert)
    installed(new, tmp_path)
    tls.reload_if_changed()
    assert served(tls.context) == serial(new.cert) != serial(old.cert)


def test_a_certificate_that_does_not_fit_its_key_is_left_alone_until_it_does(
    tmp_path: Path, pair: tuple[Certificates, Certificates], caplog: pytest.LogCaptureFixture
) -> None:
    old, new = pair
    cert, key = installed(old, tmp_path)
    tls = ServerTls(cert, key)
    shutil.copy(new.cert, cert)
    tls.reload_if_changed()
    assert served(tls.context) == serial(old.cert)
    assert "not reloaded" in caplog.text
    cert.unlink()
    tls.reload_if_changed()
    assert served(tls.context) == serial(old.cert)
    installed(new, tmp_path)
    tls.reload_if_changed()
    assert served(tls.context) == serial(new.cert)


def test_the_files_are_looked_at_as_long_as_the_node_runs(
    tmp_path: Path, pair: tuple[Certificates, Certificates], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage_node.tls.LOOK_SECONDS", 0.001)
    old, new = pair
    tls = ServerTls(*installed(old, tmp_path))

    async def renew() -> None:
        looking = asyncio.create_task(tls.keep_current())
        installed(new, tmp_path)
        async with asyncio.timeout(20):
            while served(tls.context) != serial(new.cert):
                await asyncio.sleep(0)
        looking.cancel()

    asyncio.run(renew())


def test_versions_before_1_2_are_not_spoken(
    tmp_path: Path, pair: tuple[Certificates, Certificates]
) -> None:
    tls = ServerTls(*installed(pair[0], tmp_path))
    assert tls.context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_no_certificate_at_all_refuses_to_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="SE_TLS_CERT"):
        ServerTls(tmp_path / "node.pem", tmp_path / "node.key")
