"""A real Celery worker of its own process on the test's database, to be killed as workers are."""

import os
import subprocess
import sys
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit

from celery import Celery
from django.db import connection

from artstore.broker import queue_conninfo
from artstore.embedded.plan import ROOT


def own_database_url() -> str:
    """The address of the database this test uses, which is not the one the run was started with."""
    whole = urlsplit(os.environ["DATABASE_URL"])
    return urlunsplit(whole._replace(path=f"/{connection.settings_dict['NAME']}"))


class WorkerProcess:
    """Takes tasks from `start` on. Use in a `with` statement; whatever is left is killed."""

    def __init__(self, log_file: Path, **settings: str) -> None:
        self._log_file = log_file
        self._environment = os.environ | {"DATABASE_URL": own_database_url()} | settings

    def start(self) -> Self:
        with self._log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "celery", "-A", "artstore", "worker"),
                    *("--pool=threads", "--concurrency=16", "--loglevel=INFO"),
                ],
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self

    def give(self, run_id: uuid.UUID) -> None:
        """Enqueue a run, as our doors do; their queues are in the database the test run began with."""
        queues = {"conn_string": queue_conninfo(own_database_url()), "init_extension": False}
        sender = Celery(broker="pgmq://", set_as_current=False)
        sender.conf.broker_transport_options = queues
        with sender.connection_for_write() as connected:
            sender.send_task("registry.run_sync", [str(run_id)], connection=connected)

    def kill(self) -> None:
        """kill -9: nothing is said, nothing is given back."""
        self.process.kill()
        self.process.wait(60)

    def log(self) -> str:
        return self._log_file.read_text(errors="replace")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _failure: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.kill()
