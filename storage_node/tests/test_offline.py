"""The Admin module is down for the whole of it: the node starts, serves, restarts and keeps strangers out all the same."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from storage_node.keys import FORCED_FETCH_BURST, FORCED_FETCH_INTERVAL_SECONDS, RETRY_SECONDS
from storage_node.tests.conftest import MakeNode, error_of
from storage_node.tests.node_process import Issuer, JwksServer, NodeProcess, NodeSession


class Down:
    """Nobody answers at this address; how often somebody knocked is counted."""

    def __init__(self, port: int) -> None:
        self.knocks = 0
        self._listener = socket.create_server(("127.0.0.1", port))
        self._thread = threading.Thread(target=self._turn_away, daemon=True)
        self._thread.start()

    def _turn_away(self) -> None:
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            self.knocks += 1
            caller.close()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@contextmanager
def cut_off(make_node: MakeNode) -> Iterator[tuple[NodeProcess, Down]]:
    """A stopped node that got its keys in an earlier life, and the dead address it would get them from."""
    issuer = Issuer.make()
    jwks = JwksServer(issuer.jwks())
    node = make_node(SE_JWKS_URL=jwks.url)
    node.issuer = issuer
    assert node.session().get("/api/v1/files").status_code == 200
    node.stop()
    jwks.close()
    down = Down(jwks.port)
    try:
        yield node, down
    finally:
        down.close()


def work(node: NodeProcess) -> None:
    """A file's whole life, with a token signed just now."""
    api = node.session()
    address = api.put_file(b"written offline").headers["Location"]
    assert api.get(f"{address}/download").content == b"written offline"
    assert api.patch(address, json={"description": "offline"}).json()["revision"] == 2
    assert api.delete(address).status_code == 200


def test_offline_tokens_of_known_keys_work_and_the_keys_survive_restarts_on_disk(
    make_node: MakeNode,
) -> None:
    with cut_off(make_node) as (node, down):
        node.start()
        work(node)
        node.kill()
        node.start()
        work(node)
        assert (node.data_dir / "jwks.json").stat().st_size > 0
        ready = NodeSession(node, None).get("/health/ready")
        assert (ready.status_code, ready.json()["checks"]["keys"]["status"]) == (200, "ok")
        assert down.knocks >= 2


def test_offline_unknown_keys_are_refused_and_do_not_make_the_node_ask_again_and_again(
    make_node: MakeNode,
) -> None:
    with cut_off(make_node) as (node, down):
        node.start()
        stranger, session = Issuer.make(), NodeSession(node, None)
        claims = stranger.claims(node.storage_id)
        knocks, began = down.knocks, time.monotonic()
        for number in range(40):
            stranger.keys[f"made-up-{number}"] = stranger.keys[stranger.active]
            token = stranger.sign(claims, kid=f"made-up-{number}")
            answer = session.get("/api/v1/files", headers={"Authorization": f"Bearer {token}"})
            assert error_of(answer) == (401, "UNAUTHORIZED")
        # What is allowed at once, what grows again, and the node's own asking at its interval.
        passed_seconds = time.monotonic() - began
        regrown = passed_seconds / FORCED_FETCH_INTERVAL_SECONDS + passed_seconds / RETRY_SECONDS
        assert down.knocks - knocks <= FORCED_FETCH_BURST + 1 + regrown
        work(node)
