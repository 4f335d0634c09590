"""What the embedded system consists of: its directories, ports, processes and their environment.

Decides, starts nothing. The one module of the embedded system that reads the environment.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from artstore.embedded.errors import EmbeddedError
from artstore.embedded.processes import Child

ROOT = Path(__file__).resolve().parents[2]
LOOPBACK = "127.0.0.1"
WEB_PORT_SETTING = "ARTSTORE_WEB_PORT"
ADMIN_USERNAME = "admin"
# The path of a program's own environment variables that its children may see.
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "VIRTUAL_ENV", "COVERAGE_PROCESS_START")
_PASSED_ON_PREFIXES = ("ARTSTORE_", "OTEL_", "SE_")


@dataclass(frozen=True)
class Element:
    """One storage node of the embedded system."""

    storage_id: str
    mode: str
    port: int
    port_setting: str
    data_dir: Path

    @property
    def url(self) -> str:
        return f"https://{LOOPBACK}:{self.port}"

    @property
    def name(self) -> str:
        return f"Embedded {self.mode}"


@dataclass(frozen=True)
class Layout:
    """Where things lie below ARTSTORE_HOME."""

    home: Path

    @property
    def logs(self) -> Path:
        return self.home / "log"

    @property
    def secrets(self) -> Path:
        return self.home / "secrets"

    @property
    def certificates(self) -> Path:
        return self.home / "certificates"

    @property
    def ca_file(self) -> Path:
        return self.certificates / "ca.pem"

    @property
    def postgres(self) -> Path:
        return self.home / "postgres"

    @property
    def ready_file(self) -> Path:
        return self.home / "ready.json"

    @property
    def lock_file(self) -> Path:
        return self.home / "supervisor.lock"

    @property
    def children_file(self) -> Path:
        return self.home / "children.json"

    @property
    def elements_file(self) -> Path:
        """The storage elements that the registry knew at the last start."""
        return self.home / "elements.json"

    @property
    def client_file(self) -> Path:
        """Credentials of the service account that `smoke` uses."""
        return self.secrets / "smoke-client.json"

    @property
    def admin_password_file(self) -> Path:
        return self.secrets / "admin-password"

    @property
    def database_url_file(self) -> Path:
        return self.secrets / "database-url"

    def log_of(self, name: str) -> Path:
        return self.logs / f"{name}.log"


@dataclass(frozen=True)
class Plan:
    """Everything the operator may decide about the embedded system, read once."""

    layout: Layout
    web_port: int
    elements: tuple[Element, ...]
    max_capacity: str
    database_url: str | None
    inherited: Mapping[str, str]

    @property
    def base_url(self) -> str:
        return f"http://{LOOPBACK}:{self.web_port}"

    @property
    def console_url(self) -> str:
        return f"{self.base_url}/console/"

    @property
    def ports(self) -> dict[str, int]:
        """Each port by the setting that moves it."""
        return {WEB_PORT_SETTING: self.web_port} | {
            element.port_setting: element.port for element in self.elements
        }


def read(environ: Mapping[str, str] = os.environ) -> Plan:
    """The plan as the environment asks for it; a bad value names its setting."""
    layout = Layout(Path(environ.get("ARTSTORE_HOME") or ROOT / "var").absolute())
    elements = (
        _element(layout, environ, "edit", "ARTSTORE_NODE_EDIT_PORT", 8010),
        _element(layout, environ, "rw", "ARTSTORE_NODE_RW_PORT", 8011),
    )
    plan = Plan(
        layout=layout,
        web_port=_port(environ, WEB_PORT_SETTING, 8000),
        elements=elements,
        max_capacity=environ.get("ARTSTORE_NODE_CAPACITY") or "20GiB",
        database_url=_database_url(environ),
        inherited={name: text for name, text in environ.items() if _passed_on(name)},
    )
    if len(set(plan.ports.values())) < len(plan.ports):
        raise EmbeddedError(f"{', '.join(plan.ports)} must be different ports: {plan.ports}.")
    return plan


def _passed_on(name: str) -> bool:
    return name in _PASSED_ON or name.startswith(_PASSED_ON_PREFIXES)


def _database_url(environ: Mapping[str, str]) -> str | None:
    if environ.get("DATABASE_URL_FILE"):
        return Path(environ["DATABASE_URL_FILE"]).read_text().strip()
    return environ.get("DATABASE_URL") or None


def _port(environ: Mapping[str, str], setting: str, default: int) -> int:
    text = environ.get(setting) or str(default)
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise EmbeddedError(f"{setting} is {text!r}, which is no port; write 1-65535.")
    return int(text)


def _element(
    layout: Layout, environ: Mapping[str, str], mode: str, setting: str, port: int
) -> Element:
    storage_id = f"node-{mode}"
    return Element(
        storage_id, mode, _port(environ, setting, port), setting, layout.home / storage_id
    )


def django_environment(plan: Plan) -> dict[str, str]:
    """For every Django process. Secrets are named by file, so that no process listing has them."""
    secrets = plan.layout.secrets
    return {
        "ARTSTORE_BROKER_URL": "pgmq://",
        "ARTSTORE_ALLOW_LOOPBACK_ELEMENTS": "true",
        "ARTSTORE_LOG_FORMAT": "text",
        **plan.inherited,
        "ARTSTORE_SECRET_KEY_FILE": str(secrets / "django-secret-key"),
        "ARTSTORE_DIGEST_KEY_FILE": str(secrets / "digest-key"),
        "ARTSTORE_KEY_ENCRYPTION_KEYS_FILE": str(secrets / "key-encryption-keys"),
        "ARTSTORE_ADMIN_USERNAME": ADMIN_USERNAME,
        "ARTSTORE_ADMIN_PASSWORD_FILE": str(plan.layout.admin_password_file),
        "DATABASE_URL_FILE": str(plan.layout.database_url_file),
        "DJANGO_SETTINGS_MODULE": "artstore.settings",
        "ARTSTORE_BIND": f"{LOOPBACK}:{plan.web_port}",
        "PYTHONUNBUFFERED": "1",
    }


def web(plan: Plan) -> Child:
    # A pool in this process alone: its threads give a connection back while bytes move, and
    # a pool does not survive the worker's forks.
    return _python_child(
        plan,
        "web",
        "-m",
        "gunicorn",
        "-c",
        "deploy/gunicorn.conf.py",
        "artstore.wsgi",
        ARTSTORE_DATABASE_POOL_SIZE="16",
    )


def worker(plan: Plan) -> Child:
    # Threads: tasks wait for elements, and two silent ones must not stop the rest.
    options = ["worker", "--loglevel=INFO", "--pool=threads", "--concurrency=16"]
    return _python_child(
        plan,
        "worker",
        "-m",
        "celery",
        "-A",
        "artstore",
        *options,
        "--without-gossip",
        "--without-heartbeat",
        "--without-mingle",
    )


def beat(plan: Plan) -> Child:
    schedule = plan.layout.home / "beat-schedule"
    return _python_child(
        plan,
        "beat",
        "-m",
        "celery",
        "-A",
        "artstore",
        "beat",
        f"--schedule={schedule}",
        "--pidfile=",
    )


def manage(plan: Plan, name: str, *arguments: str) -> Child:
    """A `manage.py` command that runs to its end."""
    return _python_child(plan, name, "manage.py", *arguments)


def _python_child(plan: Plan, name: str, *arguments: str, **defaults: str) -> Child:
    return Child(
        name=name,
        argv=[sys.executable, *arguments],
        log_file=plan.layout.log_of(name),
        environment=defaults | django_environment(plan),
        directory=ROOT,
    )


def node(plan: Plan, element: Element) -> Child:
    certificate = plan.layout.certificates / element.storage_id
    settings = {
        "SE_MIN_FREE_DISK": "256MiB",
        "SE_LOG_FORMAT": "text",
        **{name: text for name, text in plan.inherited.items() if not name.startswith("ARTSTORE_")},
        "SE_STORAGE_ID": element.storage_id,
        "SE_DATA_DIR": str(element.data_dir),
        "SE_HOST": LOOPBACK,
        "SE_PORT": str(element.port),
        "SE_MODE": element.mode,
        "SE_MAX_CAPACITY": plan.max_capacity,
        "SE_JWKS_URL": f"{plan.base_url}/api/v1/auth/jwks",
        "SE_TLS_CERT": f"{certificate}.pem",
        "SE_TLS_KEY": f"{certificate}.key",
        "PYTHONUNBUFFERED": "1",
    }
    if not (element.data_dir / "node.json").exists():
        settings["SE_INIT"] = "1"
    return Child(
        name=element.storage_id,
        argv=[sys.executable, "-m", "storage_node", "serve"],
        log_file=plan.layout.log_of(element.storage_id),
        environment=settings,
        directory=ROOT,
    )
