"""Public keys as Restate writes them, read by other means than Tandem's."""

import base64

__all__ = ["pem", "raw"]

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
