"""The node's settings: `SE_*` of the environment, read once into a frozen `NodeConfig` and passed down.

The only module of the node that reads the environment. A bad value refuses to start and says what would do; all bad
values are reported at once. What a setting means for the bytes on disk lives with the engine, not here.
"""

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from storage_node.directory import HEADROOM_BYTES, REDO_LOG_BYTES, StoreOptions
from storage_node.wal_format import PAGE_BYTES, SEGMENT_BYTES

KIB = 1024
HEADER_LIMIT_BYTES = 64 * KIB
ATTRIBUTES_HEADER_LIMIT_BYTES = 24 * KIB
SMALLEST_REDO_LOG_BYTES, LARGEST_REDO_LOG_BYTES = 2**22, 2**30

_SIZE_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "pb": 10**15}
_SIZE_UNITS |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40, "pib": 2**50}
_DURATION_UNITS = {
    "": 1.0,
    "ms": 0.001,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "d": 86400.0,
    "w": 604800.0,
}
_NUMBER_AND_UNIT = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*")
_STORAGE_ID = re.compile(r"[a-z0-9-]{1,63}")
_MODES = ("edit", "rw", "ro", "ar")
_LOG_LEVELS = ("debug", "info", "warning", "error")

Value = TypeVar("Value")


class ConfigInvalid(Exception):
    """The node refuses to start; `problems` is one sentence with a hint per bad setting."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class NodeConfig:
    """Everything the operator decided, checked. Sizes are bytes, durations seconds."""

    storage_id: str
    data_dir: Path
    max_capacity_bytes: int
    jwks_url: str | None
    jwks_file: Path | None
    tls_cert: Path | None
    tls_key: Path | None
    host: str
    port: int
    mode: str
    init: bool
    max_file_bytes: int
    issuer: str
    ca_cert: Path | None
    jwks_max_age_seconds: float
    gc_interval_seconds: float
    reconcile_interval_seconds: float
    scrub_period_seconds: float
    scrub_rate_bytes_per_second: int
    expired_grace_seconds: float
    tombstone_keep_seconds: float
    min_free_disk_bytes: int
    stall_timeout_seconds: float
    redo_log_bytes: int
    log_level: str
    log_format: str
    insecure_loopback: bool
    allow_network_fs: bool
    otlp_endpoint: str | None

    @property
    def audience(self) -> str:
        """The `aud` a token must carry to be meant for this element."""
        return f"urn:artstore:element:{self.storage_id}"


def parse_size_bytes(text: str) -> int:
    """`10GiB`, `10 GB`, `1048576` to bytes; ValueError with a hint otherwise."""
    match = _NUMBER_AND_UNIT.fullmatch(text)
    factor = _SIZE_UNITS.get(match[2].lower()) if match else None
    if match is None or factor is None:
        raise ValueError("is not a size; write bytes or a number with KiB, MiB, GiB, TiB (10GiB)")
    return int(float(match[1]) * factor) if "." in match[1] else int(match[1]) * factor


def parse_duration_seconds(text: str) -> float:
    """`7d`, `90s`, `0.5h`, `300` to seconds; ValueError with a hint otherwise."""
    match = _NUMBER_AND_UNIT.fullmatch(text)
    factor = _DURATION_UNITS.get(match[2].lower()) if match else None
    if match is None or factor is None:
        raise ValueError("is not a duration; write seconds or a number with s, m, h, d, w (24h)")
    return float(match[1]) * factor


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


class _Reader:
    """Takes values out of the environment and gathers what is wrong with them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.problems: list[str] = []

    def take(self, name: str, parse: Callable[[str], Value], default: Value) -> Value:
        text = self._environ.get(name, "").strip()
        if not text:
            return default
        try:
            return parse(text)
        except ValueError as problem:
            self.problems.append(f"{name}: {text!r} {problem}.")
            return default

    def need(self, name: str, parse: Callable[[str], Value], missing: Value) -> Value:
        if not self._environ.get(name, "").strip():
            self.problems.append(f"{name} is not set; see docs/configuration.md.")
        return self.take(name, parse, missing)


def _storage_id(text: str) -> str:
    if not _STORAGE_ID.fullmatch(text):
        raise ValueError("may hold 1-63 of a-z, 0-9 and -")
    return text


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise ValueError("is not a port; write 1-65535")
    return int(text)


def _one_of(*allowed: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.lower() not in allowed:
            raise ValueError(f"is not one of {', '.join(allowed)}")
        return text.lower()

    return parse


def _flag(text: str) -> bool:
    if text.lower() not in ("0", "1", "true", "false", "yes", "no"):
        raise ValueError("is not a switch; write 1 or 0")
    return text.lower() in ("1", "true", "yes")


def _readable_file(text: str) -> Path:
    path = Path(text)
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise ValueError(f"can not be read ({error.strerror})") from None
    return path


def _jwks_url(text: str) -> str:
    parts = urlsplit(text)
    host = parts.hostname or ""
    if parts.scheme == "https" and host:
        return text
    if parts.scheme == "http" and is_loopback(host):
        return text
    raise ValueError(
        "must begin https:// (http:// only to loopback): whoever forges the keys owns the files"
    )


def _positive_size(text: str) -> int:
    size_bytes = parse_size_bytes(text)
    if size_bytes < 1:
        raise ValueError("must be at least one byte")
    return size_bytes


def _positive_duration(text: str) -> float:
    seconds = parse_duration_seconds(text)
    if seconds <= 0:
        raise ValueError("must be longer than nothing")
    return seconds


def _redo_log_size(text: str) -> int:
    size_bytes = parse_size_bytes(text)
    if not SMALLEST_REDO_LOG_BYTES <= size_bytes <= LARGEST_REDO_LOG_BYTES:
        raise ValueError("must be between 4MiB and 1GiB")
    return size_bytes


def read(environ: Mapping[str, str]) -> NodeConfig:
    """The settings of a node that is to serve; raises `ConfigInvalid` naming every bad one."""
    env = _Reader(environ)
    config = _config(env)
    problems = env.problems + _contradictions(config, environ)
    if problems:
        raise ConfigInvalid(problems)
    return config


def read_for_shell(environ: Mapping[str, str]) -> NodeConfig:
    """The settings of a shell command, which listens to nobody and so needs neither keys nor TLS."""
    env = _Reader(environ)
    config = _config(env)
    if env.problems:
        raise ConfigInvalid(env.problems)
    return config


def store_options(config: NodeConfig) -> StoreOptions:
    """What the engine has to know."""
    return StoreOptions(
        data_dir=config.data_dir,
        storage_id=config.storage_id,
        max_capacity_bytes=config.max_capacity_bytes,
        min_free_disk_bytes=config.min_free_disk_bytes,
        max_file_bytes=config.max_file_bytes,
        initial_mode=config.mode,
        init=config.init,
        allow_network_fs=config.allow_network_fs,
        expired_grace_seconds=config.expired_grace_seconds,
        tombstone_keep_seconds=config.tombstone_keep_seconds,
        gc_interval_seconds=config.gc_interval_seconds,
        reconcile_interval_seconds=config.reconcile_interval_seconds,
        scrub_period_seconds=config.scrub_period_seconds,
        scrub_rate_bytes_per_second=config.scrub_rate_bytes_per_second,
        checkpoint_log_bytes=config.redo_log_bytes,
        segment_bytes=min(SEGMENT_BYTES, config.redo_log_bytes // 4 // PAGE_BYTES * PAGE_BYTES),
        headroom_bytes=min(HEADROOM_BYTES, config.redo_log_bytes),
    )


def _config(env: "_Reader") -> NodeConfig:
    return NodeConfig(
        storage_id=env.need("SE_STORAGE_ID", _storage_id, "missing"),
        data_dir=env.need("SE_DATA_DIR", Path, Path()),
        max_capacity_bytes=env.need("SE_MAX_CAPACITY", _positive_size, 1),
        jwks_url=env.take("SE_JWKS_URL", _jwks_url, None),
        jwks_file=env.take("SE_JWKS_FILE", _readable_file, None),
        tls_cert=env.take("SE_TLS_CERT", _readable_file, None),
        tls_key=env.take("SE_TLS_KEY", _readable_file, None),
        host=env.take("SE_HOST", str, "0.0.0.0"),  # noqa: S104  TLS and tokens guard every address
        port=env.take("SE_PORT", _port, 8010),
        mode=env.take("SE_MODE", _one_of(*_MODES), "edit"),
        init=env.take("SE_INIT", _flag, False),
        max_file_bytes=env.take("SE_MAX_FILE_SIZE", _positive_size, 2**30),
        issuer=env.take("SE_ISSUER", str, "artstore"),
        ca_cert=env.take("SE_CA_CERT", _readable_file, None),
        jwks_max_age_seconds=env.take("SE_JWKS_MAX_AGE", _positive_duration, 7 * 86400.0),
        gc_interval_seconds=env.take("SE_GC_INTERVAL", _positive_duration, 3600.0),
        reconcile_interval_seconds=env.take(
            "SE_RECONCILE_INTERVAL", _positive_duration, 6 * 3600.0
        ),
        scrub_period_seconds=env.take("SE_SCRUB_PERIOD", _positive_duration, 30 * 86400.0),
        scrub_rate_bytes_per_second=env.take("SE_SCRUB_RATE", _positive_size, 50 * 2**20),
        expired_grace_seconds=env.take("SE_EXPIRED_GRACE", parse_duration_seconds, 86400.0),
        tombstone_keep_seconds=env.take("SE_TOMBSTONE_KEEP", _positive_duration, 30 * 86400.0),
        min_free_disk_bytes=env.take("SE_MIN_FREE_DISK", parse_size_bytes, 256 * 2**20),
        stall_timeout_seconds=env.take("SE_STALL_TIMEOUT", _positive_duration, 60.0),
        redo_log_bytes=env.take("SE_LOG_SIZE", _redo_log_size, REDO_LOG_BYTES),
        log_level=env.take("SE_LOG_LEVEL", _one_of(*_LOG_LEVELS), "info"),
        log_format=env.take("SE_LOG_FORMAT", _one_of("json", "text"), "json"),
        insecure_loopback=env.take("SE_INSECURE_LOOPBACK", _flag, False),
        allow_network_fs=env.take("SE_ALLOW_NETWORK_FS", _flag, False),
        otlp_endpoint=env.take("OTEL_EXPORTER_OTLP_ENDPOINT", str, None),
    )


def _contradictions(config: NodeConfig, environ: Mapping[str, str]) -> list[str]:
    """Settings that are fine alone and unsafe or senseless together."""
    problems = []
    named_sources = [
        name for name in ("SE_JWKS_URL", "SE_JWKS_FILE") if environ.get(name, "").strip()
    ]
    if not named_sources:
        problems.append(
            "SE_JWKS_URL or SE_JWKS_FILE must be set: without keys nobody can be checked."
        )
    if len(named_sources) > 1:
        problems.append("SE_JWKS_URL and SE_JWKS_FILE are both set; keep one.")
    if config.insecure_loopback:
        if not is_loopback(config.host):
            problems.append(
                f"SE_INSECURE_LOOPBACK=1 needs SE_HOST=127.0.0.1, not {config.host!r}: no TLS leaves loopback."
            )
    else:
        missing = [
            name for name in ("SE_TLS_CERT", "SE_TLS_KEY") if not environ.get(name, "").strip()
        ]
        problems += [
            f"{name} is not set; TLS is needed (or SE_INSECURE_LOOPBACK=1 with SE_HOST=127.0.0.1)."
            for name in missing
        ]
    if len(config.issuer) > 255:
        problems.append("SE_ISSUER is longer than 255 characters.")
    return problems
