"""The failures identity can end in. Sentences a person reads live here and in the call sites."""

from collections.abc import Mapping

from artstore.errors import ArtStoreError, Conflict, Forbidden, Unauthorized


class InvalidCredentials(Unauthorized):
    """Unknown name, wrong password and inactive account are one answer, on purpose."""

    code = "INVALID_CREDENTIALS"


class InvalidRefreshToken(Unauthorized):
    code = "INVALID_REFRESH_TOKEN"


class InvalidToken(Unauthorized):
    """A bearer token that proves nothing here: forged, expired, of another kind or withdrawn."""


class AccountLocked(ArtStoreError):
    code = "ACCOUNT_LOCKED"
    status = 423


class Throttled(ArtStoreError):
    code = "THROTTLED"
    status = 429


class NotLocked(Conflict):
    code = "NOT_LOCKED"


class Refused(Forbidden):
    """An authenticated principal asked for what its role or scopes do not allow."""


class KeysUnusable(ArtStoreError):
    """No signing key can be used: none was made, or the encryption key does not open it."""

    code = "SIGNING_KEYS_UNUSABLE"
    status = 503


class OAuthError(ArtStoreError):
    """A refusal of the token endpoint, answered as RFC 6749 section 5.2 says.

    `error` is the RFC's lower-case word; the envelope's code is not used on that door.
    """

    code = "OAUTH_ERROR"
    status = 400

    def __init__(
        self,
        error: str,
        message: str,
        *,
        status: int = 400,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, headers=headers)
        self.error = error
        self.http_status = status
