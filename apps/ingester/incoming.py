"""From a request's headers and body to one named file with its fields and its bytes.

Raw bodies and forms come out alike. Decides what has to wait here and what passes straight
through; decides nothing about elements or records.
"""

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from django.conf import settings
from django.utils.translation import gettext as _

from apps.ingester import content, digests, fields, multipart
from apps.ingester.body import ClientBody
from apps.ingester.content import Checks, Content, KeptContent, LiveContent
from apps.ingester.errors import UnsupportedContent
from apps.ingester.fields import FileName, UploadFields
from apps.ingester.multipart import FormReader
from artstore import database
from artstore.errors import ValidationError

# What a form may weigh besides its file: fields, boundaries and part headers.
FORM_OVERHEAD_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class UploadHead:
    """What a request says before its body. `parameters` are those of the query string."""

    content_type: str = ""
    content_encoding: str = ""
    transfer_encoding: str = ""
    digest_headers: Mapping[str, str | None] = field(default_factory=dict)
    parameters: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class IncomingFile:
    """One file on its way in."""

    name: FileName
    fields: UploadFields
    content: Content
    form: FormReader | None = None

    def final_fields(self) -> UploadFields:
        """The fields once the content was read to its end; more of them may have followed it."""
        return self.fields if self.form is None else fields.upload_fields(self.form.fields)


def check_declared_size(head: UploadHead, declared_bytes: int | None) -> None:
    """Refuse by the declared length alone, before a byte of the body is read."""
    is_form = head.content_type.lower().startswith("multipart/")
    limit = settings.ARTSTORE_MAX_FILE_BYTES + (FORM_OVERHEAD_BYTES if is_form else 0)
    if declared_bytes is not None and declared_bytes > limit:
        raise content.too_large(settings.ARTSTORE_MAX_FILE_BYTES)
    for coding, plain in ((head.content_encoding, "identity"), (head.transfer_encoding, "chunked")):
        if coding.strip().lower() not in {"", plain}:
            raise UnsupportedContent(
                _("The coding %(coding)s is not unpacked here. Send the bytes to be stored.")
                % {"coding": coding[:32]}
            )


def open_request(head: UploadHead, body: ClientBody) -> IncomingFile:
    """Read as much of the request as it takes to know its file; the rest follows as it is sent.

    Nobody knows how slowly that comes, so the caller's database connection is given back first.
    """
    check_declared_size(head, body.declared_bytes)
    if multipart.boundary_of(head.content_type) is None:
        return _open_raw(head, body)
    if head.parameters:
        raise multipart.malformed(
            next(iter(head.parameters))[:64], _("With a form, give the fields in the form.")
        )
    return open_form(head, begin_form(head, body))


def begin_form(head: UploadHead, body: ClientBody) -> FormReader:
    """Read a form up to its file's first byte.

    Between this and `open_form` a caller may look at the leading `fields` and take out what is
    not about the file (a page's CSRF token).
    """
    boundary = multipart.boundary_of(head.content_type)
    if boundary is None:
        raise multipart.malformed("file", _("This is not a multipart form."))
    if digests.expected_digests(head.digest_headers):
        body.hash = hashlib.sha256()
    form = FormReader(body, boundary)
    database.release()
    form.read_leading()
    return form


def _open_raw(head: UploadHead, body: ClientBody) -> IncomingFile:
    texts = dict(head.parameters)
    filenames = texts.pop("filename", [""])
    if len(filenames) > 1:
        raise multipart.malformed("filename", _("Give this field once."))
    name = fields.file_name(filenames[0], head.content_type)
    given = fields.upload_fields(texts)
    announced = digests.expected_digests(head.digest_headers)
    checks = Checks(
        settings.ARTSTORE_MAX_FILE_BYTES,
        announced | ({given.checksum} if given.checksum else frozenset()),
    )
    pieces = iter(body.read_piece, b"")
    database.release()
    start = content.gather(pieces)
    if start.complete:
        return IncomingFile(name, given, content.keep_in_memory(start, checks))
    live = LiveContent(
        itertools.chain(start.pieces, pieces),
        checks,
        body.declared_bytes,
        body.declared_bytes or content.UNKNOWN_SIZE_BYTES,
    )
    return IncomingFile(name, given, live)


def open_form(head: UploadHead, form: FormReader) -> IncomingFile:
    """The file of a form whose leading fields have been read."""
    name = fields.file_name(form.file.filename, form.file.content_type)
    max_bytes = settings.ARTSTORE_MAX_FILE_BYTES
    announced = digests.expected_digests(head.digest_headers)
    pieces = form.file_pieces()
    start = content.gather(pieces)
    if start.complete or not form.has_leading:
        checks = Checks(max_bytes, late=lambda sha256: _late_sums(form, announced, sha256))
        kept = _keep(start, pieces, checks)
        return IncomingFile(name, fields.upload_fields(form.fields), kept)

    given = fields.upload_fields(form.fields)

    def late(sha256: str) -> list[str]:
        _check_late_fields(form, given)
        return _late_sums(form, announced, sha256)

    estimate = form.body.declared_bytes or content.UNKNOWN_SIZE_BYTES
    checks = Checks(max_bytes, late=late)
    live = LiveContent(itertools.chain(start.pieces, pieces), checks, None, estimate)
    return IncomingFile(name, given, live, form)


def _late_sums(form: FormReader, announced: frozenset[str], sha256: str) -> list[str]:
    """The checksums known once the form has ended: that of its field, and that of it as a whole.

    A digest header may mean the form or the file in it; see digests.py.
    """
    whole = form.body.hash.hexdigest() if form.body.hash else ""
    checksum = fields.upload_fields(form.fields).checksum
    return [*([checksum] if checksum else []), *(announced - {whole, sha256})]


def _keep(start: content.Start, pieces: Iterator[bytes], checks: Checks) -> KeptContent:
    if start.complete:
        return content.keep_in_memory(start, checks)
    return content.keep_on_disk(start, pieces, checks)


def _check_late_fields(form: FormReader, sent: UploadFields) -> None:
    """Texts that follow a large file can still be given to its element; how long it is kept cannot:
    the element was chosen by that, and the bytes are on their way to it."""
    final = fields.upload_fields(form.fields)
    if (final.retention_policy, final.ttl_days) != (sent.retention_policy, sent.ttl_days):
        late = [name for name in form.trailing if name in {"retention_policy", "ttl_days"}]
        raise ValidationError(
            _("Nothing was stored: say how long to keep a large file before it, not behind it."),
            details={name: [_("Came after the file.")] for name in late},
        )
