"""The steps of the main job and what each has to show. Prints nothing; tells as it goes."""

import base64
import datetime as dt
import hashlib
import json
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from artstore.smoke.client import Body, Call, Client, SmokeFailed, json_body
from artstore.smoke.sources import BLOCK_BYTES, Fingerprint, Source, fingerprint

FOUND_WITHIN_SECONDS = 30.0
API = "/api/v1"


@dataclass(frozen=True)
class Credentials:
    client_id: str
    client_secret: str = field(repr=False)


@dataclass
class Step:
    """One thing done: its name, how long it took, and what came of it."""

    name: str
    seconds: float = 0.0
    outcome: str = ""

    def __str__(self) -> str:
        return f"{self.seconds:8.3f} s  {self.name}: {self.outcome}"


Tell = Callable[[Step], None]


class Job:
    """One run of the main job; every failure is a `SmokeFailed`."""

    def __init__(self, client: Client, source: Source, tell: Tell) -> None:
        self._client = client
        self._source = source
        self._tell = tell
        self._seen = Fingerprint(b"", 0, b"")

    def run(self, credentials: Credentials, now: dt.datetime) -> None:
        with self._step("token by client credentials") as step:
            step.outcome = self._sign_in(credentials)
        with self._step("read the file to be sent") as step:
            self._seen = fingerprint(self._source)
            step.outcome = f"{_human(self._source.size_bytes)}, sha256 {self._seen.checksum}"
        temporary = self._round_trip("temporary", self._upload_raw, f"smoke-{uuid.uuid4()}")
        # One permanent file per content and day: they can never be deleted, so a smoke test that
        # runs often must not leave one each time. A repeat with the same key is the same file.
        day_key = f"smoke-{now:%Y-%m-%d}-{self._seen.checksum}"
        self._round_trip("permanent", self._upload_multipart, day_key)
        with self._step("delete the temporary file") as step:
            step.outcome = self._delete(temporary)

    def _round_trip(self, retention: str, upload: Callable[..., Any], key: str) -> str:
        with self._step(f"upload, {retention}") as step:
            file, status = upload(retention, key)
            self._compare(file, retention)
            step.outcome = f"file_id {file['file_id']}" + (
                ", the same as earlier with this key" if status == 200 else ""
            )
        file_id = str(file["file_id"])
        with self._step(f"search until found, {retention}") as step:
            step.outcome = self._search(file_id)
        with self._step(f"download and compare, {retention}") as step:
            step.outcome = self._download(file_id)
        if self._seen.range_bytes:
            with self._step(f"read a range, {retention}") as step:
                step.outcome = self._read_range(file_id)
        return file_id

    @contextmanager
    def _step(self, name: str) -> Iterator[Step]:
        step = Step(name)
        began = time.monotonic()
        try:
            yield step
        except SmokeFailed as failure:
            raise SmokeFailed(f"{name}: {failure}") from failure
        step.seconds = time.monotonic() - began
        self._tell(step)

    # --- steps --------------------------------------------------------------------------------

    def _sign_in(self, credentials: Credentials) -> str:
        # RFC 6749 section 2.3.1: both parts are form-encoded before Basic's base64.
        pair = f"{quote(credentials.client_id)}:{quote(credentials.client_secret)}"
        form = b"grant_type=client_credentials"
        answer = self._client.ask(
            Call(
                "POST",
                f"{API}/auth/token",
                (200,),
                Body(len(form), [form], "application/x-www-form-urlencoded"),
                {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"},
            )
        )
        self._client.token = answer["access_token"]
        return f"as {credentials.client_id}, scopes {answer.get('scope')}"

    def _upload_raw(self, retention: str, key: str) -> tuple[Any, int]:
        query = urlencode(
            {
                "filename": self._source.name,
                "retention_policy": retention,
                "ttl_days": 1,
                "description": "Sent by manage.py smoke",
            }
        )
        body = Body(self._source.size_bytes, self._source.blocks(), "application/octet-stream")
        return self._upload(f"{API}/files/upload?{query}", body, key)

    def _upload_multipart(self, retention: str, key: str) -> tuple[Any, int]:
        path = f"{API}/files/upload"
        fields = {"retention_policy": retention, "description": "Sent by manage.py smoke"}
        file, status = self._upload(path, multipart(self._source, fields), key, (200, 201, 422))
        if status == 422:
            # Somebody has edited the file of this key since, which is nobody's fault.
            key = f"{key}-{uuid.uuid4()}"
            file, status = self._upload(path, multipart(self._source, fields), key)
        return file, status

    def _upload(
        self, path: str, body: Body, key: str, expected: tuple[int, ...] = (200, 201)
    ) -> tuple[Any, int]:
        digest = base64.b64encode(self._seen.sha256).decode()
        headers = {"Idempotency-Key": key}
        if body.content_type == "application/octet-stream":
            headers["Repr-Digest"] = f"sha-256=:{digest}:"
        call = Call("POST", path, expected, body, headers)
        with self._client.open(call) as answer:
            status = answer.status
            return json.loads(answer.read()), status

    def _compare(self, file: Any, retention: str) -> None:
        expected = {
            "original_filename": self._source.name,
            "size": self._source.size_bytes,
            "checksum": self._seen.checksum,
            "retention_policy": retention,
            "status": "active",
        }
        wrong = {name: file.get(name) for name, text in expected.items() if file.get(name) != text}
        if wrong:
            raise SmokeFailed(f"the answer says {wrong}, sent was {expected}")

    def _search(self, file_id: str) -> str:
        question = {"query": self._source.name, "mode": "exact", "checksum": self._seen.checksum}
        deadline = time.monotonic() + FOUND_WITHIN_SECONDS
        for attempt in range(1, 1000):
            page = self._client.ask(Call("POST", f"{API}/search", (200,), json_body(question)))
            if any(item["file_id"] == file_id for item in page["items"]):
                return f"found by its name at attempt {attempt}"
            if time.monotonic() > deadline:
                break
            time.sleep(0.2)
        raise SmokeFailed(f"not found by its name within {FOUND_WITHIN_SECONDS:.0f} s")

    def _download(self, file_id: str) -> str:
        digest, size_bytes, began = hashlib.sha256(), 0, time.monotonic()
        with self._client.open(Call("GET", f"{API}/files/{file_id}/download", (200,))) as answer:
            while block := answer.read(BLOCK_BYTES):
                digest.update(block)
                size_bytes += len(block)
        if digest.digest() != self._seen.sha256:
            raise SmokeFailed(
                f"{size_bytes} bytes with sha256 {digest.hexdigest()} came back, sent were "
                f"{self._source.size_bytes} with {self._seen.checksum}"
            )
        rate = size_bytes / 1e6 / max(time.monotonic() - began, 1e-6)
        return f"{_human(size_bytes)}, sha256 equal, {rate:.0f} MB/s"

    def _read_range(self, file_id: str) -> str:
        first, expected = self._seen.first_byte, self._seen.range_bytes
        last = first + len(expected) - 1
        call = Call(
            "GET",
            f"{API}/files/{file_id}/download",
            (206,),
            headers={"Range": f"bytes={first}-{last}"},
        )
        with self._client.open(call) as answer:
            came, said = answer.read(), answer.headers.get("Content-Range")
        if came != expected or said != f"bytes {first}-{last}/{self._source.size_bytes}":
            raise SmokeFailed(f"bytes {first}-{last} came back as {len(came)} others ({said})")
        return f"bytes {first}-{last} equal"

    def _delete(self, file_id: str) -> str:
        self._client.ask(Call("DELETE", f"{API}/files/{file_id}", (204,)))
        with self._client.open(Call("GET", f"{API}/files/{file_id}/download", (410,))) as answer:
            return f"gone: a download now answers {answer.status}"


def multipart(source: Source, fields: dict[str, str]) -> Body:
    """`source` as the last part of a form, as a browser would send it."""
    boundary = f"artstore-{uuid.uuid4().hex}"
    head = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'
        for name, text in fields.items()
    )
    # The HTML standard's escapes for a name inside quotes.
    filename = source.name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
    head += (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    opening, closing = head.encode(), f"\r\n--{boundary}--\r\n".encode()

    def blocks() -> Iterator[bytes]:
        yield opening
        yield from source.blocks()
        yield closing

    length_bytes = len(opening) + source.size_bytes + len(closing)
    return Body(length_bytes, blocks(), f"multipart/form-data; boundary={boundary}")


def _human(size_bytes: int) -> str:
    if size_bytes < 10_000:
        return f"{size_bytes} bytes"
    return f"{size_bytes / 1e6:.1f} MB"
