"""`Content-Disposition` for any file name (RFC 6266, RFC 8187). No I/O."""

import urllib.parse

_UNQUOTED = {'"', "\\", "%"}


def content_disposition(filename: str, *, inline: bool) -> str:
    """Both forms of the name: a plain one for old clients, the exact one for the rest."""
    plain = "".join(
        char if " " <= char <= "~" and char not in _UNQUOTED else "_" for char in filename
    )
    exact = urllib.parse.quote(filename, safe="!#$&+-.^_`|~")
    kind = "inline" if inline else "attachment"
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{exact}"
