"""Every setting of the Django program, grouped by concern. The environment is the only difference
between a laptop and a cluster; a secret may also come from a file (`NAME_FILE`). Missing or
malformed values stop the process here, with the variable's name.

Each variable is described in docs/configuration.md; a test compares the two.
"""

from importlib import metadata
from pathlib import Path

import environ
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from environ.fileaware_mapping import FileAwareMapping

from artstore import broker, logs, static_digest
from artstore.pooling import PooledConnection


class _Environment(FileAwareMapping):  # type: ignore[misc]  # the library is not typed
    """A line end at the end of a secret's file is no part of the secret."""

    def __getitem__(self, key: str) -> str:
        text: str = super().__getitem__(key)
        return text.strip()


env = environ.Env()
env.ENVIRON = _Environment()

BASE_DIR = Path(__file__).resolve().parent.parent
MIB = 1024 * 1024

# --- What this process serves -----------------------------------------------------------------

KNOWN_MODULES = ("admin", "ingester", "query", "console")
ARTSTORE_MODULES = tuple(env.list("ARTSTORE_MODULES", default=list(KNOWN_MODULES)))
if not ARTSTORE_MODULES or set(ARTSTORE_MODULES) - set(KNOWN_MODULES):
    raise ImproperlyConfigured(
        f"ARTSTORE_MODULES must name some of {', '.join(KNOWN_MODULES)}, separated by commas."
    )
DEBUG = env.bool("ARTSTORE_DEBUG", default=False)
ROOT_URLCONF = "artstore.urls"
WSGI_APPLICATION = "artstore.wsgi.application"

# --- Secrets: none has a default --------------------------------------------------------------

SECRET_KEY = env.str("ARTSTORE_SECRET_KEY")
# Encrypts the private signing keys at rest: urlsafe base64 of 32 random bytes (a Fernet key).
# Several, separated by commas, let it be rotated: the first encrypts, all decrypt.
ARTSTORE_KEY_ENCRYPTION_KEYS = env.list("ARTSTORE_KEY_ENCRYPTION_KEYS")
# Keys the digest of service-account secrets and the file ids made from idempotency keys.
ARTSTORE_DIGEST_KEY = env.str("ARTSTORE_DIGEST_KEY")

# --- Database ---------------------------------------------------------------------------------

DATABASES = {"default": env.db_url("DATABASE_URL")}
_pool_size = env.int("ARTSTORE_DATABASE_POOL_SIZE", default=0)
_pool = {"min_size": 1, "max_size": _pool_size, "connection_class": PooledConnection}
DATABASES["default"] |= {
    "ENGINE": "django.db.backends.postgresql",
    "CONN_MAX_AGE": 0 if _pool_size else env.int("ARTSTORE_DATABASE_MAX_AGE_SECONDS", default=60),
    "CONN_HEALTH_CHECKS": True,
    "OPTIONS": DATABASES["default"].get("OPTIONS", {}) | ({"pool": _pool} if _pool_size else {}),
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Apps and middleware ----------------------------------------------------------------------

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "django_prometheus",
    "django_htmx",
    "csp",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "artstore",
    "apps.admin",
    "apps.registry",
    "apps.ingester",
    "apps.query",
]
MIDDLEWARE = [
    "artstore.unread.UnreadBodyMiddleware",
    "artstore.api.RequestIdMiddleware",
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "artstore.lanes.PageMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "apps.admin.middleware.RefusalMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "artstore.pages.ErrorPageMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]
# Met by pages alone; see artstore/lanes.py.
PAGE_MIDDLEWARE = [
    "artstore.static_files.StaticFilesMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "artstore.pages.PageLocaleMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "artstore.pages.PrivatePagesMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# --- REST -------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["apps.admin.authentication.BearerAuthentication"],
    # Fail closed: a view that names no permission is open to nobody.
    "DEFAULT_PERMISSION_CLASSES": ["apps.admin.permissions.Nobody"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["artstore.parsers.BoundedJSONParser"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "artstore.negotiation.OneRenderer",
    "DEFAULT_PAGINATION_CLASS": "artstore.paging.EnvelopePagination",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "artstore.api.exception_handler",
    "UNAUTHENTICATED_USER": None,
    "DATETIME_FORMAT": "iso-8601",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "ArtStore",
    "DESCRIPTION": "Files that must be kept, found and proven.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    # Names for choice sets that several components share under one field name.
    "ENUM_NAME_OVERRIDES": {
        "AccountStatus": "apps.admin.models.AccountStatus",
        "ElementStatus": "apps.registry.models.ElementStatus",
        "FileStatus": "apps.registry.models.FileStatus",
        "VisibleFileStatus": ["active", "expired", "deleted"],
        "MaintenanceStatus": ["maintenance", "online"],
        "Mode": "apps.registry.models.Mode",
        "Retention": "apps.registry.models.Retention",
        "SyncStatus": "apps.registry.models.SyncStatus",
    },
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "artstore.api.schema_servers",
    ],
}

# --- Who may talk to us and how ---------------------------------------------------------------

ALLOWED_HOSTS = env.list("ARTSTORE_ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("ARTSTORE_CSRF_TRUSTED_ORIGINS", default=[])
# Behind a TLS-ending proxy: cookies are marked secure and plain HTTP is redirected.
ARTSTORE_TLS = env.bool("ARTSTORE_TLS", default=False)
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if ARTSTORE_TLS else None
SECURE_SSL_REDIRECT = ARTSTORE_TLS
SECURE_REDIRECT_EXEMPT = [r"^health/", r"^metrics$"]
SECURE_HSTS_SECONDS = 31_536_000 if ARTSTORE_TLS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = ARTSTORE_TLS
SECURE_HSTS_PRELOAD = ARTSTORE_TLS
SECURE_REFERRER_POLICY = "same-origin"
# The table holds digests of the cookies' keys, so a copy of it opens no session.
SESSION_ENGINE = "apps.admin.session_store"
SESSION_COOKIE_SECURE = ARTSTORE_TLS
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = env.int("ARTSTORE_SESSION_SECONDS", default=12 * 3600)
CSRF_COOKIE_SECURE = ARTSTORE_TLS
CSRF_COOKIE_HTTPONLY = True
CSRF_FAILURE_VIEW = "artstore.pages.csrf_failure"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "media-src": [SELF],
        "frame-src": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
    }
}
# The form of a page is small; file bodies are read by the Ingester from the stream itself.
DATA_UPLOAD_MAX_MEMORY_SIZE = 1 * MIB
APPEND_SLASH = False

# --- Identity ---------------------------------------------------------------------------------

AUTH_USER_MODEL = "artstore_admin.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
PASSWORD_HASHERS = ["apps.admin.hashers.BoundedArgon2Hasher"]
# Signing in is `apps.admin.sessions`, which counts failures; the backend only keeps people signed in.
AUTHENTICATION_BACKENDS = ["apps.admin.authentication.SessionBackend"]
LOGIN_URL = "console:login"
LOGIN_REDIRECT_URL = "console:dashboard"
ARTSTORE_ISSUER = env.str("ARTSTORE_ISSUER", default="artstore")
# For `manage.py bootstrap`: the first admin; without a password one is generated and printed.
ARTSTORE_ADMIN_USERNAME = env.str("ARTSTORE_ADMIN_USERNAME", default="admin")
ARTSTORE_ADMIN_PASSWORD = env.str("ARTSTORE_ADMIN_PASSWORD", default="")
# For `manage.py smoke`: the service account it acts as.
ARTSTORE_CLIENT_ID = env.str("ARTSTORE_CLIENT_ID", default="")
ARTSTORE_CLIENT_SECRET = env.str("ARTSTORE_CLIENT_SECRET", default="")
ARTSTORE_USER_TOKEN_SECONDS = env.int("ARTSTORE_USER_TOKEN_SECONDS", default=30 * 60)
ARTSTORE_SERVICE_TOKEN_SECONDS = env.int("ARTSTORE_SERVICE_TOKEN_SECONDS", default=60 * 60)
ARTSTORE_ELEMENT_TOKEN_SECONDS = env.int("ARTSTORE_ELEMENT_TOKEN_SECONDS", default=15 * 60)
ARTSTORE_REFRESH_TOKEN_SECONDS = env.int("ARTSTORE_REFRESH_TOKEN_SECONDS", default=24 * 3600)
# How long a retiring key stays published; at least the longest token life (a check says so).
ARTSTORE_KEY_GRACE_SECONDS = env.int("ARTSTORE_KEY_GRACE_SECONDS", default=60 * 60)
# A change of keys reaches every process within this time.
ARTSTORE_KEY_CACHE_SECONDS = env.int("ARTSTORE_KEY_CACHE_SECONDS", default=2)
ARTSTORE_LOCK_FAILURES = env.int("ARTSTORE_LOCK_FAILURES", default=5)
ARTSTORE_LOCK_SECONDS = env.int("ARTSTORE_LOCK_SECONDS", default=15 * 60)
# Requests a minute to the login and refresh doors, a tenth of those to the token door; a burst may
# be as large.
ARTSTORE_THROTTLE_ADDRESS_PER_MINUTE = env.int("ARTSTORE_THROTTLE_ADDRESS_PER_MINUTE", default=600)
ARTSTORE_THROTTLE_NAME_PER_MINUTE = env.int("ARTSTORE_THROTTLE_NAME_PER_MINUTE", default=300)
# How many proxies in front append to X-Forwarded-For; 0: the header is not believed.
ARTSTORE_TRUSTED_PROXIES = env.int("ARTSTORE_TRUSTED_PROXIES", default=0)
ARTSTORE_SECRET_WARNING_DAYS = env.int("ARTSTORE_SECRET_WARNING_DAYS", default=14)
ARTSTORE_AUDIT_KEEP_DAYS = env.int("ARTSTORE_AUDIT_KEEP_DAYS", default=730)

# --- Storage elements and sync ----------------------------------------------------------------

# Element URLs are operator input. What is not opened here is refused at every connect.
ARTSTORE_ALLOW_PRIVATE_ELEMENTS = env.bool("ARTSTORE_ALLOW_PRIVATE_ELEMENTS", default=False)
ARTSTORE_ALLOW_LOOPBACK_ELEMENTS = env.bool("ARTSTORE_ALLOW_LOOPBACK_ELEMENTS", default=False)
ARTSTORE_ALLOW_PLAIN_HTTP_ELEMENTS = env.bool("ARTSTORE_ALLOW_PLAIN_HTTP_ELEMENTS", default=False)
ARTSTORE_NODE_CONNECT_SECONDS = env.float("ARTSTORE_NODE_CONNECT_SECONDS", default=5)
# No byte moved for this long: the call is over. Whole transfers have no limit.
ARTSTORE_NODE_STALL_SECONDS = env.float("ARTSTORE_NODE_STALL_SECONDS", default=60)
# A call without a file's bytes has to be answered whole within this.
ARTSTORE_NODE_ANSWER_SECONDS = env.float("ARTSTORE_NODE_ANSWER_SECONDS", default=30)
ARTSTORE_PROBE_PERIOD_SECONDS = env.int("ARTSTORE_PROBE_PERIOD_SECONDS", default=30)
ARTSTORE_PROBE_ANSWER_SECONDS = env.float("ARTSTORE_PROBE_ANSWER_SECONDS", default=10)
ARTSTORE_SYNC_PERIOD_SECONDS = env.int("ARTSTORE_SYNC_PERIOD_SECONDS", default=3600)
ARTSTORE_SYNC_JITTER_SECONDS = env.int("ARTSTORE_SYNC_JITTER_SECONDS", default=300)
ARTSTORE_FULL_SYNC_PERIOD_DAYS = env.int("ARTSTORE_FULL_SYNC_PERIOD_DAYS", default=7)
ARTSTORE_SYNC_LEASE_SECONDS = env.int("ARTSTORE_SYNC_LEASE_SECONDS", default=120)
# A first load of so many leaves out the indexes that are cheaper built at its end; 0: never.
ARTSTORE_FIRST_LOAD_FILES = env.int("ARTSTORE_FIRST_LOAD_FILES", default=200_000)
# More files than the larger of these missing without a tombstone: a person has to confirm.
ARTSTORE_SYNC_MISSING_FILES = env.int("ARTSTORE_SYNC_MISSING_FILES", default=100)
ARTSTORE_SYNC_MISSING_PERCENT = env.float("ARTSTORE_SYNC_MISSING_PERCENT", default=1.0)
ARTSTORE_LAZY_CLEANUPS_PER_HOUR = env.int("ARTSTORE_LAZY_CLEANUPS_PER_HOUR", default=20)

# --- Files in and out -------------------------------------------------------------------------

ARTSTORE_MAX_FILE_BYTES = env.int("ARTSTORE_MAX_FILE_BYTES", default=1024 * MIB)
# No byte from or to a client for this long: the transfer is over. Whole transfers have no limit.
ARTSTORE_CLIENT_STALL_SECONDS = env.float("ARTSTORE_CLIENT_STALL_SECONDS", default=60)
# A dead upload is settled this long after its last sign of life, plus the settling period.
ARTSTORE_UPLOAD_LEASE_SECONDS = env.int("ARTSTORE_UPLOAD_LEASE_SECONDS", default=120)
ARTSTORE_SETTLE_PERIOD_SECONDS = env.int("ARTSTORE_SETTLE_PERIOD_SECONDS", default=60)
# How old the figures about the elements' room may be, and how long a refusal is remembered.
ARTSTORE_PLACEMENT_REFRESH_SECONDS = env.float("ARTSTORE_PLACEMENT_REFRESH_SECONDS", default=1)
ARTSTORE_PLACEMENT_MEMORY_SECONDS = env.float("ARTSTORE_PLACEMENT_MEMORY_SECONDS", default=5)
ARTSTORE_SEARCH_TIMEOUT_SECONDS = env.float("ARTSTORE_SEARCH_TIMEOUT_SECONDS", default=5)
# Rows in one CSV of a search result; the file's name says when there would be more.
ARTSTORE_EXPORT_FILES = env.int("ARTSTORE_EXPORT_FILES", default=100_000)
ARTSTORE_QUERY_CACHE_SECONDS = env.float("ARTSTORE_QUERY_CACHE_SECONDS", default=30)
# Shared with the nginx in front, which then fetches downloads from the elements itself; empty: no.
ARTSTORE_HANDOVER_SECRET = env.str("ARTSTORE_HANDOVER_SECRET", default="")
ARTSTORE_QUERY_CACHE_FILES = env.int("ARTSTORE_QUERY_CACHE_FILES", default=10_000)

# --- Background work --------------------------------------------------------------------------

CELERY_BROKER_URL = env.str("ARTSTORE_BROKER_URL", default="pgmq://")
# A message is gone when its work is done, not when it began; results are rows, not messages.
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
# `inspect` and `control` do not work over pgmq; liveness is a heartbeat row.
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BEAT_SCHEDULER = "artstore.beat.SingleScheduler"
if CELERY_BROKER_URL.startswith(("filesystem", "sqla", "sqlalchemy", "memory")):
    raise ImproperlyConfigured(
        "ARTSTORE_BROKER_URL names a broker that loses messages; use pgmq:// or amqp://."
    )
if CELERY_BROKER_URL == "pgmq://":
    # Queues in our own database; their SQL is installed by a migration.
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "conn_string": broker.queue_conninfo(env.str("DATABASE_URL")),
        "init_extension": False,
        "pool_size": env.int("ARTSTORE_BROKER_POOL_SIZE", default=4),
    }

# --- Text, time, static files -----------------------------------------------------------------

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("ru", "Русский")]
LOCALE_PATHS = [BASE_DIR / "locale"]
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"
STATICFILES_DIRS = [BASE_DIR / "static"]
# The address changes with the files, so a browser may keep each for good.
_static_digest = static_digest.of_files(
    STATICFILES_DIRS[0], [metadata.version("drf-spectacular-sidecar")]
)
STATIC_URL = "/static/" if DEBUG else f"/static/{_static_digest}/"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
WHITENOISE_USE_FINDERS = True
WHITENOISE_ALLOW_ALL_ORIGINS = False
WHITENOISE_IMMUTABLE_FILE_TEST = ".^" if DEBUG else "."

# --- Logs -------------------------------------------------------------------------------------

LOGGING = logs.config(
    level=env.str("ARTSTORE_LOG_LEVEL", default="INFO"),
    log_format=env.str("ARTSTORE_LOG_FORMAT", default="json"),
)
