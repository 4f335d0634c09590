"""The data directory as a whole: taking hold of it, refusing it when it is not fit, making a new one.

Fast and before anything is served: lock, identity, refusals. Opening the log and the index comes after, in `store.py`.
"""

import fcntl
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

from storage_node.attributes import stamp
from storage_node.disk import FILES, INCOMING, KEYS_FILE, MODE_FILE, NODE_FILE, QUARANTINE, Disk
from storage_node.errors import RefusedToStart
from storage_node.index_rebuild import NEW_FILE
from storage_node.index_schema import INDEX_FILE, INDEX_SHM_FILE, INDEX_WAL_FILE
from storage_node.leaf_readers import usable_cores
from storage_node.medium import Medium, refuse_network_filesystem
from storage_node.modes import ModeState
from storage_node.wal import Log, remove_all
from storage_node.wal_format import SEGMENT_BYTES
from storage_node.wal_scan import SUFFIX, WAL, LogMissing

FORMAT = 1
DAY_SECONDS = 86400.0
REDO_LOG_BYTES = 64 * 2**20
HEADROOM_BYTES = 16 * 2**20
_INDEX_FILES = (INDEX_FILE, INDEX_WAL_FILE, INDEX_SHM_FILE, NEW_FILE)
# What an initialisation that was cut short may have left.
_UNFINISHED = {"lost+found", WAL, INCOMING, FILES, QUARANTINE, MODE_FILE, *_INDEX_FILES}


@dataclass(frozen=True)
class StoreOptions:
    """What the operator decided about one element. Sizes are bytes, durations seconds; `index_readers` are processes."""

    data_dir: Path
    storage_id: str
    max_capacity_bytes: int
    min_free_disk_bytes: int = 0
    max_file_bytes: int = 2**30
    initial_mode: str = "edit"
    init: bool = False
    allow_network_fs: bool = False
    expired_grace_seconds: float = DAY_SECONDS
    tombstone_keep_seconds: float = 30 * DAY_SECONDS
    gc_interval_seconds: float = 3600.0
    reconcile_interval_seconds: float = 6 * 3600.0
    scrub_period_seconds: float = 30 * DAY_SECONDS
    scrub_rate_bytes_per_second: int = 50 * 2**20
    checkpoint_interval_seconds: float = 60.0
    checkpoint_log_bytes: int = REDO_LOG_BYTES
    segment_bytes: int = SEGMENT_BYTES
    headroom_bytes: int = HEADROOM_BYTES
    index_readers: int = field(default_factory=usable_cores)
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    monotonic: Callable[[], float] = time.monotonic
    open_medium: Callable[[Path], Medium] = field(default=Medium)


@dataclass(frozen=True, slots=True)
class Identity:
    """`node.json`: which element this is, which life of it, which log belongs to it."""

    storage_id: str
    instance_id: UUID
    log_id: bytes
    created_at: str

    @classmethod
    def from_json(cls, raw: bytes) -> "Identity":
        """Raises `RefusedToStart` when the bytes are not a `node.json` of a format known here."""
        try:
            data = json.loads(raw)
            number = data["format"]
            found = cls(
                str(data["storage_id"]),
                UUID(data["instance_id"]),
                bytes.fromhex(data["log_id"]),
                str(data["created_at"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise RefusedToStart(
                f"node.json can not be read ({error}). Restore it from a backup before starting."
            ) from None
        if number != FORMAT or len(found.log_id) != 16:
            raise RefusedToStart(
                f"The directory is of format {number!r}, this program knows format {FORMAT}. Use a newer program."
            )
        return found

    def to_json(self) -> bytes:
        """The bytes of `node.json`."""
        members = {
            "format": FORMAT,
            "storage_id": self.storage_id,
            "instance_id": str(self.instance_id),
            "log_id": self.log_id.hex(),
            "created_at": self.created_at,
        }
        return (json.dumps(members, sort_keys=True, indent=1) + "\n").encode()


class NodeDirectory:
    """A data directory held by this process alone."""

    def __init__(
        self, options: StoreOptions, medium: Medium, identity: Identity, mode: ModeState
    ) -> None:
        self.options = options
        self.disk = Disk(medium)
        self.identity = identity
        self.mode_state = mode

    @property
    def storage_id(self) -> str:
        """The name the operator gave the element."""
        return self.identity.storage_id

    @property
    def instance_id(self) -> UUID:
        """The random name of this life of the directory."""
        return self.identity.instance_id

    @property
    def mode(self) -> str:
        """The mode as the file tells it; the log may know a later one until the store is open."""
        return self.mode_state.mode

    def read_keys_copy(self) -> bytes | None:
        """The token keys saved last, None where there are none."""
        medium = self.disk.medium
        return medium.read(KEYS_FILE) if medium.exists(KEYS_FILE) else None

    def save_keys_copy(self, raw: bytes) -> None:
        """Keeps the token keys for a start without the Admin module. `OSError` when it can not."""
        self.disk.write_whole(KEYS_FILE, raw)
        self.disk.medium.sync_directory(".")

    def close(self) -> None:
        """Lets go of the directory."""
        self.disk.medium.close()


def claim(options: StoreOptions, now: datetime) -> NodeDirectory:
    """Takes hold of the directory for writing, making a new one when asked; `RefusedToStart` says why not."""
    medium = _lock(options)
    try:
        if not medium.exists(NODE_FILE):
            _initialise(options, medium, now)
        identity = Identity.from_json(medium.read(NODE_FILE))
        _refuse_wrong(options, medium, identity)
        return NodeDirectory(options, medium, identity, ModeState.from_json(medium.read(MODE_FILE)))
    except OSError as error:
        medium.close()
        raise RefusedToStart(f"{options.data_dir} can not be read: {error}.") from error
    except BaseException:
        medium.close()
        raise


def accept_restored(options: StoreOptions, now: datetime) -> UUID:
    """Makes a directory without a usable log startable: files as they are, empty log, new instance_id. Returns that id."""
    medium = _lock(options)
    try:
        if not medium.exists(NODE_FILE) or not medium.exists(FILES):
            raise RefusedToStart(
                f"{options.data_dir} has no node.json or no files/: that is no copy of a node's directory."
            )
        old = Identity.from_json(medium.read(NODE_FILE))
        _refuse_other_element(options, old)
        ModeState.from_json(medium.read(MODE_FILE))
        _make_directories(medium)
        remove_all(medium)
        for name in _INDEX_FILES:
            medium.unlink(name)
        identity = _new_identity(old.storage_id, now)
        Log.begin(medium, identity.log_id, options.segment_bytes).close()
        _write_identity(medium, identity)
        return identity.instance_id
    except OSError as error:
        raise RefusedToStart(f"{options.data_dir} could not be made startable: {error}.") from error
    finally:
        medium.close()


def _lock(options: StoreOptions) -> Medium:
    data_dir = options.data_dir
    try:
        if options.init and not data_dir.exists():
            data_dir.mkdir(mode=0o750, parents=True)
        if not options.allow_network_fs:
            refuse_network_filesystem(data_dir)
        medium = options.open_medium(data_dir)
    except OSError as error:
        raise RefusedToStart(
            f"SE_DATA_DIR={data_dir} can not be opened: {error.strerror}. Is the disk mounted?"
        ) from error
    try:
        fcntl.flock(medium.root, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        medium.close()
        raise RefusedToStart(
            f"{data_dir} is in use by another process that writes. One node per directory: stop it first, or use its API."
        ) from None
    return medium


def _initialise(options: StoreOptions, medium: Medium, now: datetime) -> None:
    found = set(medium.names("."))
    is_blank = found <= _UNFINISHED and not medium.names(FILES) and not medium.names(QUARANTINE)
    if not options.init or not is_blank:
        hint = (
            "SE_INIT=1 initialises an empty directory."
            if is_blank
            else "It is not empty either, so it is not initialised: is the right disk mounted?"
        )
        raise RefusedToStart(
            f"{options.data_dir} has no node.json, so it is no storage element. {hint}"
        )
    _make_directories(medium)
    remove_all(medium)
    for name in _INDEX_FILES:
        medium.unlink(name)
    identity = _new_identity(options.storage_id, now)
    Log.begin(medium, identity.log_id, options.segment_bytes).close()
    Disk(medium).write_whole(MODE_FILE, ModeState.initial(options.initial_mode, now).to_json())
    medium.sync_directory(".")
    # Last: a directory that has node.json has everything.
    _write_identity(medium, identity)


def _make_directories(medium: Medium) -> None:
    for name in (WAL, INCOMING, FILES, QUARANTINE):
        medium.make_directory(name)
    medium.sync_directory(".")


def _new_identity(storage_id: str, now: datetime) -> Identity:
    return Identity(storage_id, uuid4(), uuid4().bytes, stamp(now))


def _write_identity(medium: Medium, identity: Identity) -> None:
    Disk(medium).write_whole(NODE_FILE, identity.to_json())
    medium.sync_directory(".")


def _refuse_other_element(options: StoreOptions, identity: Identity) -> None:
    if identity.storage_id != options.storage_id:
        raise RefusedToStart(
            f"{options.data_dir} belongs to element {identity.storage_id!r}, not to {options.storage_id!r}. "
            "Set SE_STORAGE_ID to that, or SE_DATA_DIR to the right directory."
        )


def _refuse_wrong(options: StoreOptions, medium: Medium, identity: Identity) -> None:
    _refuse_other_element(options, identity)
    if not medium.exists(FILES):
        raise RefusedToStart(
            f"{options.data_dir} has node.json and no files/. Something was lost: find out before starting."
        )
    if not any(name.endswith(SUFFIX) for name in medium.names(WAL)):
        raise LogMissing(
            "The directory has files and no log. If it is a restored copy, run `python -m storage_node accept-restored`; "
            "if not, find out where wal/ went before starting."
        )
    if not medium.exists(MODE_FILE):
        raise RefusedToStart("mode.json is missing. Restore it from a backup before starting.")
    _make_directories(medium)
