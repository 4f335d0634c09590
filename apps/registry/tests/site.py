"""A real node with an element registered for it: what tests of the wire and of sync stand on."""

import hashlib
import itertools
import json
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.utils import timezone

from apps.admin import keys
from apps.registry import comparing, credentials, sync
from apps.registry.attributes import FileAttributes
from apps.registry.models import (
    FileRecord,
    Mode,
    StorageElement,
    SyncRun,
    SyncTrigger,
    element_id_of,
)
from apps.registry.node_client import NodeClient, Upload
from bench.node_directory import Content, index_only
from storage_node.tests.node_process import Certificates, Issuer, NodeProcess, NodeSession

_names = itertools.count(1)


@dataclass
class Site:
    """A running node and its element's row."""

    node: NodeProcess
    element: StorageElement

    @classmethod
    def start(
        cls,
        folder: Path,
        certificates: Certificates,
        storage_id: str = "se-test",
        files: int = 0,
        **environment: str,
    ) -> "Site":
        """A new node, and an element registered with it but never synced.

        With `files` it lists that many from the start (see `bench.node_directory.index_only`).
        """
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "keys.json").write_text(json.dumps({"keys": keys.keyring.jwks()}))
        settings = {"SE_JWKS_FILE": str(folder / "keys.json"), **environment}
        node = NodeProcess(folder, certificates, Issuer(), storage_id, settings)
        if files:
            index_only(node.settings, Content(storage_id, files))
        node.start()
        return cls.beside(node)

    @classmethod
    def beside(cls, node: NodeProcess) -> "Site":
        """A new row for the element of a node that runs already."""
        return cls(node, _row(node))

    def emptied(self) -> int:
        """Delete every file there is; answers how many tombstones the node keeps now."""
        client = self.client()
        listed = client.list_changes(0, "").body["items"]
        files = [item["file"] for item in listed if "file" in item]
        for file in files:
            if file["status"] == "active":
                client.delete_file(uuid.UUID(file["file_id"]))
        if files:
            client.collect_garbage(dry_run=False)
            assert not client.list_files({}).body["items"], "the shared node kept files"
        return len(listed)

    def client(self, *scopes: str) -> NodeClient:
        """Calls to the node with the Django program's own client."""
        everything = ("files:read", "files:write", "storage:read", "storage:write")
        caller = credentials.Caller("someone", "ingester", scopes or everything)
        return credentials.client(self.element, caller)

    def put(self, content: bytes = b"content", **given: Any) -> FileAttributes:
        """A file on the node that the registry has not heard of."""
        file_id = given.pop("file_id", None) or uuid.uuid4()
        described = {
            "original_filename": f"file-{next(_names)}.txt",
            "content_type": "text/plain",
            "description": None,
            "tags": [],
            "metadata": {},
            "retention_policy": "permanent",
            "ttl_days": None,
        } | given
        upload = Upload(described, [content], len(content), hashlib.sha256(content).hexdigest())
        return self.client().put_file(file_id, upload).attributes

    def sync(self, *, full: bool = False, **request: Any) -> SyncRun:
        """A run from claim to end, as a worker does it."""
        self.element.refresh_from_db()
        wanted = sync.Request(SyncTrigger.MANUAL, full=full, **request)
        report = sync.run(sync.claim(self.element, wanted).pk)
        assert report is not None
        self.element.refresh_from_db()
        return report.run

    def synced(self) -> "Site":
        """The first, full sync is done."""
        run = self.sync(full=True)
        assert run.status == "succeeded", run.error
        return self

    def rebuild_index(self) -> None:
        """The node comes back with a new epoch."""
        self.node.kill()
        done = self.node.run("rebuild-index")
        assert done.returncode == 0, done.stderr
        self.node.start()

    def record(self, file_id: uuid.UUID) -> FileRecord:
        return FileRecord.objects.get(pk=file_id)

    def differences(self) -> list[Any]:
        """What records and element disagree about now."""
        self.element.refresh_from_db()
        return comparing.compare(self.element).differences

    def stop(self) -> None:
        self.node.__exit__()


def _row(node: NodeProcess) -> StorageElement:
    info = NodeSession(node, None).get("/api/v1/info").json()
    return StorageElement.objects.create(
        id=element_id_of(node.storage_id),
        name=node.storage_id,
        url=node.base_url,
        storage_id=node.storage_id,
        instance_id=info["instance_id"],
        ca_pem=node.certificates.ca.read_text(),
        mode=Mode(info["mode"]),
        status="online",
        last_probe_at=timezone.now(),
    )
