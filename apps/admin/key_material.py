"""RSA keys as text: sealed for the database, public for the JWKS. When they change: `keys.py`."""

import base64
import hashlib
from collections.abc import Mapping

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from django.conf import settings

from apps.admin.errors import KeysUnusable

ALGORITHM = "RS256"
_RSA_BITS = 2048


def make_private() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS)


def seal_private(key: rsa.RSAPrivateKey) -> str:
    """The private part as text that only ARTSTORE_KEY_ENCRYPTION_KEYS opens."""
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return _fernet().encrypt(pem).decode()


def open_private(sealed: str) -> rsa.RSAPrivateKey:
    try:
        pem = _fernet().decrypt(sealed.encode())
    except InvalidToken:
        # `from None`: the chained exception could show key material in a traceback.
        raise KeysUnusable(
            "The signing key in the database cannot be opened: ARTSTORE_KEY_ENCRYPTION_KEYS does"
            " not hold the key it was sealed with. Restore that key, or rotate with emergency."
        ) from None
    # Our own row: the primality checks would cost tens of milliseconds and prove nothing.
    key = serialization.load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=True)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise KeysUnusable("The signing key in the database is not an RSA key. Rotate the keys.")
    return key


def jwk_of(public: rsa.RSAPublicKey) -> dict[str, str]:
    """RFC 7517, with the RFC 7638 thumbprint as `kid`."""
    numbers = public.public_numbers()
    modulus, exponent = _number(numbers.n), _number(numbers.e)
    thumbprint = hashlib.sha256(
        f'{{"e":"{exponent}","kty":"RSA","n":"{modulus}"}}'.encode()
    ).digest()
    kid = base64.urlsafe_b64encode(thumbprint).decode().rstrip("=")
    return {"kty": "RSA", "use": "sig", "alg": ALGORITHM, "kid": kid, "n": modulus, "e": exponent}


def public_of(jwk: Mapping[str, str]) -> rsa.RSAPublicKey:
    def number(text: str) -> int:
        return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")

    return rsa.RSAPublicNumbers(number(jwk["e"]), number(jwk["n"])).public_key()


def _fernet() -> MultiFernet:
    return MultiFernet([Fernet(key) for key in settings.ARTSTORE_KEY_ENCRYPTION_KEYS])


def _number(value: int) -> str:
    raw = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
