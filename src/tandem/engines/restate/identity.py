"""Restate's public keys, in its own notation or as PEM; and that a signature is verified once."""

import base64
import re
from collections.abc import Iterable, Sequence
from time import monotonic
from typing import Any, Final

import restate
from restate._internal import (  # type: ignore[import-not-found]  # compiled, and without a stub
    IdentityVerificationException,
    PyIdentityVerifier,
)

from tandem.exceptions import ConfigurationError

__all__ = ["read_identity_keys", "signed"]

# Restate's own notation, as its SDKs take it: https://docs.restate.dev/services/security
_NOTATION: Final = "publickeyv1_"
_ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
# RFC 8410: what comes before the 32 bytes of an Ed25519 key.
_PREFIX: Final = bytes.fromhex("302a300506032b6570032100")
_KEY_BYTES: Final = 32
_TOKEN: Final = b"x-restate-jwt-v1"
_SECONDS: Final = 1.0
_MOST: Final = 1_024


def read_identity_keys(given: Sequence[str]) -> list[str]:
    """Read keys as the SDK takes them; empty texts are no keys.

    Each is `publickeyv1_...`, as Restate logs it, or what `openssl pkey -pubout` prints of its private key. Raises
    `ConfigurationError` for anything else.
    """
    return [_read(text.strip()) for text in given if text.strip()]


def signed(services: Iterable[Any], keys: Sequence[str]) -> Any:
    """Return the application that serves these, and lets in only what one of the keys has signed, where there is one.

    Restate's token for a path is the same for a second: it is verified once for each second and path, by the SDK's own
    verifier. What it refuses gets the SDK's own answer.
    """
    served = list(services)
    guarded = restate.app(served, identity_keys=list(keys) or None)
    if not keys:
        return guarded
    verifier, opened, verified = PyIdentityVerifier(list(keys)), restate.app(served), dict[tuple[bytes, str], float]()

    def is_signed(scope: Any) -> bool:
        headers, path, now = dict(scope["headers"]), scope["path"], monotonic()
        known = (headers.get(_TOKEN, b""), path)
        if verified.get(known, now) > now:
            return True
        try:
            verifier.verify(
                [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers.items()], path
            )
        except IdentityVerificationException:
            return False
        if len(verified) >= _MOST:
            verified.clear()
        verified[known] = now + _SECONDS
        return True

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await (opened if scope["type"] == "http" and is_signed(scope) else guarded)(scope, receive, send)

    return application


def _read(text: str) -> str:
    if text.startswith(_NOTATION) and _is_base58_of_a_key(text.removeprefix(_NOTATION)):
        return text
    try:
        content = base64.b64decode(re.sub(r"-----[A-Z ]+-----|\s", "", text), validate=True)
    except ValueError:
        content = b""
    if not content.startswith(_PREFIX) or len(content) != len(_PREFIX) + _KEY_BYTES:
        raise ConfigurationError(
            f"ENGINES['restate']['IDENTITY_KEYS'] has {text[:60]!r}, which is no public key of Restate's. Give '{_NOTATION}...', which"
            " Restate logs when it starts, or what `openssl pkey -in private.pem -pubout` prints."
        )
    return _NOTATION + _base58(content.removeprefix(_PREFIX))


def _is_base58_of_a_key(digits: str) -> bool:
    if not digits or set(digits) - set(_ALPHABET):
        return False
    number = 0
    for digit in digits:
        number = number * len(_ALPHABET) + _ALPHABET.index(digit)
    zeros = len(digits) - len(digits.lstrip(_ALPHABET[0]))
    return zeros + (number.bit_length() + 7) // 8 == _KEY_BYTES


def _base58(content: bytes) -> str:
    number = int.from_bytes(content)
    digits = ""
    while number:
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return _ALPHABET[0] * (len(content) - len(content.lstrip(b"\0"))) + digits
