"""Public keys as Restate writes them, read by other means than Tandem's."""

import base64
import hashlib

__all__ = ["pem", "public_half", "raw"]

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def raw(key: str) -> bytes:
    """The 32 bytes of a `publickeyv1_...`."""
    number = 0
    for character in key.removeprefix("publickeyv1_"):
        number = number * 58 + _ALPHABET.index(character)
    return number.to_bytes(32)


def pem(content: bytes) -> str:
    """32 bytes as RFC 8410 has them written."""
    body = base64.b64encode(bytes.fromhex("302a300506032b6570032100") + content).decode()
    return f"-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n"


_FIELD = 2**255 - 19
_CURVE = -121665 * pow(121666, -1, _FIELD) % _FIELD
_Y = 4 * pow(5, -1, _FIELD) % _FIELD

type _Point = tuple[int, int]


def public_half(seed: bytes) -> bytes:
    """The public key of 32 random bytes: RFC 8032, 5.1.5."""
    scalar = int.from_bytes(hashlib.sha512(seed).digest()[:32], "little")
    scalar = scalar & ((1 << 254) - 8) | (1 << 254)
    base, found = (_recover_x(_Y), _Y), (0, 1)
    while scalar:
        if scalar & 1:
            found = _add(found, base)
        base = _add(base, base)
        scalar >>= 1
    x, y = found
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _recover_x(y: int) -> int:
    """The even one."""
    square = (y * y - 1) * pow(_CURVE * y * y + 1, -1, _FIELD)
    x = pow(square, (_FIELD + 3) // 8, _FIELD)
    if (x * x - square) % _FIELD:
        x = x * pow(2, (_FIELD - 1) // 4, _FIELD) % _FIELD
    return x if x % 2 == 0 else _FIELD - x


def _add(left: _Point, right: _Point) -> _Point:
    (x1, y1), (x2, y2) = left, right
    product = _CURVE * x1 * x2 * y1 * y2
    x = (x1 * y2 + x2 * y1) * pow(1 + product, -1, _FIELD)
    y = (y1 * y2 + x1 * x2) * pow(1 - product, -1, _FIELD)
    return x % _FIELD, y % _FIELD
