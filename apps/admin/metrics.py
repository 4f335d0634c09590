"""What identity counts for Prometheus. Rows of docs/metrics.md."""

from prometheus_client import Counter, Gauge

LOGINS = Counter("artstore_logins_total", "Password logins by outcome.", ["outcome"])
TOKENS_ISSUED = Counter("artstore_tokens_issued_total", "Tokens signed, by kind.", ["kind"])
TOKEN_REFUSALS = Counter(
    "artstore_token_refusals_total", "Refusals of the token endpoint, by RFC 6749 error.", ["error"]
)
THROTTLED = Counter("artstore_throttled_total", "Requests answered 429, by door.", ["door"])
REFRESH_REUSE = Counter(
    "artstore_refresh_reuse_total", "Dead refresh tokens presented again; each ended a session."
)
KEY_ROTATIONS = Counter("artstore_key_rotations_total", "Signing key rotations.", ["kind"])
REFUSALS = Counter("artstore_refusals_total", "Authenticated requests answered 403.")
SECRETS_EXPIRING = Gauge(
    "artstore_service_account_secrets_expiring",
    "Active service accounts whose secret expires soon, as of the last check.",
)
