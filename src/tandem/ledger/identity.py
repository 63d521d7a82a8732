"""Ids: minted before the insert, so that a caller has one even where the row commits later."""

import os
import secrets
import socket
import time
import uuid
from typing import Final

__all__ = ["derived_id", "new_id", "new_ids", "process_name", "read_id"]

_NAMESPACE: Final = uuid.UUID("6f0d1f6e-4d0e-5a0c-9c55-7d2a1f0b7a11")


def new_id() -> uuid.UUID:
    """Mint a UUIDv7 (RFC 9562): 48 bits of milliseconds, then 74 random bits. Python has one from 3.14 on."""
    return new_ids(1)[0]


def new_ids(count: int) -> list[uuid.UUID]:
    """Mint many at once."""
    stamp = time.time_ns() // 1_000_000 << 80
    entropy = os.urandom(10 * count)
    values = (stamp | int.from_bytes(entropy[start : start + 10]) for start in range(0, 10 * count, 10))
    return [uuid.UUID(int=value & ~(0xF << 76) & ~(0x3 << 62) | 0x7 << 76 | 0x2 << 62) for value in values]


def process_name(kind: str = "") -> str:
    """Name this process in the ledger, for its whole life and no other's: a container's host and pid come again."""
    host, suffix = socket.gethostname()[:150], f":{kind}" if kind else ""
    return f"{host}:{os.getpid()}{suffix}:{secrets.token_hex(4)}"


def derived_id(*parts: str) -> uuid.UUID:
    """Derive a UUIDv5 from `parts`: the same parts, the same id (children and external calls)."""
    return uuid.uuid5(_NAMESPACE, "\x1f".join(parts))


def read_id(value: object) -> uuid.UUID | None:
    """Read an execution's id from what a caller has of it: a UUID, or its text; None for anything else."""
    if isinstance(value, uuid.UUID):
        return value
    try:
        return uuid.UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None
