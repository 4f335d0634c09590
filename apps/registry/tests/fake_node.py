"""A node that answers from docs/wire/*.json, under the real client: the fake is at the wire.

The node's own suite proves that a real node gives these answers to these requests.
"""

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
import requests
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict
from urllib3 import HTTPResponse

from apps.registry import wire

WIRE = Path(__file__).resolve().parents[3] / "docs" / "wire"
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def example(name: str) -> dict[str, Any]:
    """One file of docs/wire, without its ending."""
    found: dict[str, Any] = json.loads((WIRE / f"{name}.json").read_text(encoding="utf-8"))
    return found


def names(*calls: str) -> list[str]:
    """The examples of these calls; of all when none is named."""
    found = sorted(path.stem for path in WIRE.glob("*.json"))
    return [name for name in found if not calls or name.split("-")[0] in calls]


class FakeNode(BaseAdapter):
    """Gives the answers of some examples; keeps the requests as they would have gone out."""

    def __init__(self, *examples: str) -> None:
        super().__init__()
        self._examples = [example(name) for name in examples]
        self.requests: list[requests.PreparedRequest] = []
        self.bodies: list[bytes] = []

    def install(self, monkeypatch: pytest.MonkeyPatch) -> "FakeNode":
        """Every node call of this process ends here."""
        monkeypatch.setattr(wire, "session", lambda _ca_pem: wire.session_over(self))
        return self

    def close(self) -> None:
        """Nothing is open."""

    def send(  # type: ignore[override]  # nothing else that an adapter is told matters here
        self, request: requests.PreparedRequest, **_options: Any
    ) -> requests.Response:
        body = request.body
        self.requests.append(request)
        if isinstance(body, wire.OutgoingBody):
            body = b"".join(body)
        self.bodies.append(bytes(body or b"") if not isinstance(body, str) else body.encode())
        return self._answer(request)

    def _answer(self, request: requests.PreparedRequest) -> requests.Response:
        for found in self._examples:
            asked = found["request"]
            path = request.path_url.split("?")[0]
            if (asked["method"], _shape(asked["path"])) == (request.method, _shape(path)):
                return _response(request, found)
        if len(self._examples) == 1:
            # The example is of a request that the client cannot make; only its answer is wanted.
            return _response(request, self._examples[0])
        raise requests.ConnectionError(f"no example answers {request.method} {request.path_url}")


def _shape(path: str) -> str:
    return _UUID.sub("<id>", path)


def _response(request: requests.PreparedRequest, found: dict[str, Any]) -> requests.Response:
    answer = found["response"]
    if "body_base64" in answer:
        raw = base64.b64decode(answer["body_base64"])
    elif answer.get("body") is not None:
        raw = json.dumps(answer["body"], ensure_ascii=False).encode()
    else:
        raw = b""
    response = requests.Response()
    response.status_code = answer["status"]
    response.headers = CaseInsensitiveDict(answer["headers"])
    response.raw = HTTPResponse(io.BytesIO(raw), preload_content=False)
    response.request = request
    response.url = str(request.url)
    return response
