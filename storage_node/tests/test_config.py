"""Settings: read once, every bad one named with a hint, and no start in a state where nobody would be checked."""

from pathlib import Path

import pytest

from storage_node import config
from storage_node.config import ConfigInvalid, parse_duration_seconds, parse_size_bytes
from storage_node.tests.conftest import MakeNode
from storage_node.tests.node_process import REPOSITORY


@pytest.fixture
def good(tmp_path: Path) -> dict[str, str]:
    pem = tmp_path / "some.pem"
    pem.write_text("x")
    return {
        "SE_STORAGE_ID": "se-1",
        "SE_DATA_DIR": str(tmp_path),
        "SE_MAX_CAPACITY": "10GiB",
        "SE_JWKS_URL": "https://admin/jwks",
        "SE_TLS_CERT": str(pem),
        "SE_TLS_KEY": str(pem),
    }


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0", 0),
        ("1048576", 1 << 20),
        ("10GiB", 10 << 30),
        ("10 gib", 10 << 30),
        ("1.5KiB", 1536),
        ("2GB", 2 * 10**9),
        ("7b", 7),
    ],
)
def test_sizes_are_bytes_or_a_number_with_a_unit(text: str, size_bytes: int) -> None:
    assert parse_size_bytes(text) == size_bytes


@pytest.mark.parametrize("text", ["", "x", "-1", "10 apples", "1e9", "GiB", "1,5GiB", "١"])
def test_a_size_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="GiB"):
        parse_size_bytes(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("7d", 604800), ("24h", 86400), ("90", 90), ("0.5s", 0.5), ("2 m", 120), ("250ms", 0.25)],
)
def test_durations_are_seconds_or_a_number_with_a_unit(text: str, seconds: float) -> None:
    assert parse_duration_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "x", "-1s", "1y", "1:30"])
def test_a_duration_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="24h"):
        parse_duration_seconds(text)


def test_the_defaults_are_those_of_the_documentation(good: dict[str, str]) -> None:
    settings = config.read(good)
    rows = (REPOSITORY / "docs/configuration.md").read_text().splitlines()
    told = {
        row.split("|")[1].strip(" `"): row.split("|")[3].strip()
        for row in rows
        if row.startswith("| `SE_")
    }
    assert settings.port == int(told["SE_PORT"])
    assert settings.host == told["SE_HOST"]
    assert settings.mode == told["SE_MODE"]
    assert settings.issuer == told["SE_ISSUER"]
    assert settings.log_format == told["SE_LOG_FORMAT"]
    assert settings.log_level == told["SE_LOG_LEVEL"]
    assert settings.max_file_bytes == parse_size_bytes(told["SE_MAX_FILE_SIZE"])
    assert settings.min_free_disk_bytes == parse_size_bytes(told["SE_MIN_FREE_DISK"])
    assert settings.redo_log_bytes == parse_size_bytes(told["SE_LOG_SIZE"])
    assert settings.scrub_rate_bytes_per_second == parse_size_bytes(told["SE_SCRUB_RATE"])
    assert settings.jwks_max_age_seconds == parse_duration_seconds(told["SE_JWKS_MAX_AGE"])
    assert settings.gc_interval_seconds == parse_duration_seconds(told["SE_GC_INTERVAL"])
    assert settings.reconcile_interval_seconds == parse_duration_seconds(
        told["SE_RECONCILE_INTERVAL"]
    )
    assert settings.scrub_period_seconds == parse_duration_seconds(told["SE_SCRUB_PERIOD"])
    assert settings.expired_grace_seconds == parse_duration_seconds(told["SE_EXPIRED_GRACE"])
    assert settings.tombstone_keep_seconds == parse_duration_seconds(told["SE_TOMBSTONE_KEEP"])
    assert settings.stall_timeout_seconds == parse_duration_seconds(told["SE_STALL_TIMEOUT"])


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"SE_STORAGE_ID": ""}, "SE_STORAGE_ID"),
        ({"SE_STORAGE_ID": "Bad Name"}, "SE_STORAGE_ID"),
        ({"SE_STORAGE_ID": "x" * 64}, "SE_STORAGE_ID"),
        ({"SE_DATA_DIR": ""}, "SE_DATA_DIR"),
        ({"SE_MAX_CAPACITY": ""}, "SE_MAX_CAPACITY"),
        ({"SE_MAX_CAPACITY": "0"}, "SE_MAX_CAPACITY"),
        ({"SE_MAX_CAPACITY": "lots"}, "SE_MAX_CAPACITY"),
        ({"SE_JWKS_URL": ""}, "SE_JWKS_URL"),
        ({"SE_JWKS_URL": "http://admin/jwks"}, "SE_JWKS_URL"),
        ({"SE_JWKS_URL": "ftp://admin"}, "SE_JWKS_URL"),
        ({"SE_JWKS_URL": "file:///etc/passwd"}, "SE_JWKS_URL"),
        ({"SE_JWKS_FILE": "/nowhere/keys.json"}, "SE_JWKS_FILE"),
        ({"SE_TLS_CERT": ""}, "SE_TLS_CERT"),
        ({"SE_TLS_KEY": "/nowhere/key.pem"}, "SE_TLS_KEY"),
        ({"SE_PORT": "0"}, "SE_PORT"),
        ({"SE_PORT": "99999"}, "SE_PORT"),
        ({"SE_PORT": "http"}, "SE_PORT"),
        ({"SE_MODE": "rwx"}, "SE_MODE"),
        ({"SE_INIT": "maybe"}, "SE_INIT"),
        ({"SE_LOG_FORMAT": "xml"}, "SE_LOG_FORMAT"),
        ({"SE_LOG_LEVEL": "loud"}, "SE_LOG_LEVEL"),
        ({"SE_STALL_TIMEOUT": "0"}, "SE_STALL_TIMEOUT"),
        ({"SE_GC_INTERVAL": "often"}, "SE_GC_INTERVAL"),
        ({"SE_CA_CERT": "/nowhere/ca.pem"}, "SE_CA_CERT"),
        ({"SE_INSECURE_LOOPBACK": "1"}, "SE_INSECURE_LOOPBACK"),
        ({"SE_INSECURE_LOOPBACK": "1", "SE_HOST": "192.168.0.1"}, "SE_INSECURE_LOOPBACK"),
    ],
    ids=str,
)
def test_a_bad_setting_is_named(changed: dict[str, str], named: str, good: dict[str, str]) -> None:
    with pytest.raises(ConfigInvalid) as refusal:
        config.read(good | changed)
    assert any(problem.startswith(named) for problem in refusal.value.problems)


def test_all_bad_settings_are_told_at_once(good: dict[str, str]) -> None:
    with pytest.raises(ConfigInvalid) as refusal:
        config.read(good | {"SE_PORT": "x", "SE_MODE": "y", "SE_TLS_KEY": ""})
    assert len(refusal.value.problems) == 3


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.8.8"])
def test_no_tls_is_allowed_on_loopback_alone(host: str, good: dict[str, str]) -> None:
    settings = config.read(
        good | {"SE_INSECURE_LOOPBACK": "1", "SE_HOST": host, "SE_TLS_CERT": "", "SE_TLS_KEY": ""}
    )
    assert settings.insecure_loopback


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000/jwks", "http://localhost/jwks", "https://admin.example/jwks"]
)
def test_keys_come_over_tls_or_from_this_machine(url: str, good: dict[str, str]) -> None:
    assert config.read(good | {"SE_JWKS_URL": url}).jwks_url == url


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"SE_TLS_KEY": ""}, "SE_TLS_KEY"),
        (
            {
                "SE_HOST": "0.0.0.0",
                "SE_INSECURE_LOOPBACK": "1",
                "SE_TLS_CERT": "",
                "SE_TLS_KEY": "",
            },
            "loopback",
        ),
        ({"SE_INIT": "0"}, "SE_INIT=1"),
        ({"SE_MAX_CAPACITY": "?"}, "SE_MAX_CAPACITY"),
    ],
    ids=str,
)
def test_a_node_refuses_to_start_with_one_sentence_and_no_traceback(
    changed: dict[str, str], says: str, make_node: MakeNode
) -> None:
    node = make_node(start=False, **changed)
    node.port = 18199
    node.data_dir.mkdir(parents=True)
    refused = node.run("serve")
    assert refused.returncode in (2, 3)
    assert says in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_key_file_without_a_usable_key_refuses_to_start(
    make_node: MakeNode, tmp_path: Path
) -> None:
    for garbage in ("", "{}", '{"keys": []}'):
        keys = tmp_path / "garbage.json"
        keys.write_text(garbage)
        node = make_node(start=False, SE_JWKS_FILE=str(keys))
        node.port = 18199
        refused = node.run("serve")
        assert refused.returncode == 2
        assert "SE_JWKS_FILE" in refused.stderr


def test_a_certificate_that_does_not_fit_its_key_refuses_to_start(make_node: MakeNode) -> None:
    node = make_node(start=False)
    node.environment["SE_TLS_KEY"] = str(node.certificates.ca)
    node.port = 18199
    refused = node.run("serve")
    assert refused.returncode == 2
    assert "SE_TLS_" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_ca_file_that_is_no_certificate_refuses_to_start(make_node: MakeNode) -> None:
    node = make_node(start=False, SE_JWKS_URL="https://localhost/jwks")
    node.environment["SE_CA_CERT"] = str(node.certificates.key)
    node.port = 18199
    refused = node.run("serve")
    assert refused.returncode == 2
    assert "SE_CA_CERT" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_second_node_on_the_same_directory_is_refused(make_node: MakeNode) -> None:
    node = make_node()
    second = make_node(start=False, SE_DATA_DIR=str(node.data_dir))
    second.port = 18199
    refused = second.run("serve")
    assert refused.returncode == 3
    assert "in use" in refused.stderr


def test_a_taken_port_is_told_in_the_operator_s_words(make_node: MakeNode) -> None:
    node = make_node()
    second = make_node(start=False)
    second.port = node.port
    refused = second.run("serve")
    assert refused.returncode == 2
    assert "SE_PORT" in refused.stderr


@pytest.mark.parametrize("text", ["1MiB", "2GiB", "0"])
def test_a_log_too_small_to_work_with_or_too_large_to_replay_is_refused(
    good: dict[str, str], text: str
) -> None:
    with pytest.raises(ConfigInvalid, match="between 4MiB and 1GiB"):
        config.read(good | {"SE_LOG_SIZE": text})


def test_segments_and_headroom_shrink_with_the_log(good: dict[str, str]) -> None:
    usual = config.store_options(config.read(good))
    small = config.store_options(config.read(good | {"SE_LOG_SIZE": "4MiB"}))
    assert (usual.checkpoint_log_bytes, usual.segment_bytes) == (64 << 20, 16 << 20)
    assert usual.headroom_bytes == 16 << 20
    assert (small.checkpoint_log_bytes, small.segment_bytes) == (4 << 20, 1 << 20)
    assert small.headroom_bytes == 4 << 20
