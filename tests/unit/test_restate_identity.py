"""Restate's public keys as people have them."""

import asyncio
import base64
from typing import Any

import pytest
import restate
from restate._internal import IdentityVerificationException  # type: ignore[import-not-found]  # compiled

from tandem.engines.restate import identity
from tandem.engines.restate.identity import read_identity_keys, signed
from tandem.exceptions import ConfigurationError
from tests.identity import pem, raw

# RFC 8410, 10.1: the example of an Ed25519 public key.
BODY = "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE="
PEM = f"-----BEGIN PUBLIC KEY-----\n{BODY}\n-----END PUBLIC KEY-----\n"
OWN = "publickeyv1_2ibYiSHkPZ3fCHD5KHtpoxswZ3CvnyRPNb8eW6PKVg6t"


def test_a_key_in_restates_notation_is_taken_as_it_is() -> None:
    assert read_identity_keys([f" {OWN}", "", " "]) == [OWN]


@pytest.mark.parametrize("text", [PEM, BODY, PEM.replace("\n", "\r\n"), PEM.replace("\n", " ")])
def test_a_key_in_pem_is_written_in_restates_notation(text: str) -> None:
    (key,) = read_identity_keys([text])
    assert key.startswith("publickeyv1_")
    assert raw(key) == base64.b64decode(BODY)[-32:]


def test_zeros_at_the_front_of_a_key_stay() -> None:
    content = b"\0\0" + bytes(range(1, 31))
    (key,) = read_identity_keys([pem(content)])
    assert key.startswith("publickeyv1_11")
    assert raw(key) == content


SHORT = ["publickeyv1_", "publickeyv1_x", OWN[:-1], OWN + "1", OWN.replace("2ib", "0ib")]


@pytest.mark.parametrize("text", ["nonsense", "publickeyv2_x", BODY[:-4], PEM.replace("MCow", "MCox"), "ü", *SHORT])
def test_anything_else_is_refused_by_name(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"IDENTITY_KEYS'\] has .* no public key of Restate's"):
        read_identity_keys([text])


class Verifier:
    """The SDK's, for a token that this test can write: `<path>!`."""

    asked: list[str] = []  # noqa: RUF012  # emptied by each test

    def __init__(self, _keys: list[str]) -> None:
        self.asked.clear()

    def verify(self, headers: list[tuple[str, str]], path: str) -> None:
        self.asked.append(path)
        if dict(headers).get("x-restate-jwt-v1") != f"{path}!":
            raise IdentityVerificationException


def status(application: Any, path: str, token: str | None) -> int:
    """Ask for a path, and answer the status."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    headers = [] if token is None else [(b"x-restate-jwt-v1", token.encode())]
    scope = {"type": "http", "http_version": "2", "path": path, "headers": headers}
    asyncio.run(application(scope, receive, send))
    return int(sent[0]["status"])


def test_a_token_is_verified_once_for_a_path_and_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(identity, "PyIdentityVerifier", Verifier)
    monkeypatch.setattr(identity, "monotonic", lambda: now[0])
    application = signed([restate.Service("Work")], [OWN])
    assert [status(application, "/discover", "/discover!") for _ in range(3)] == [200, 200, 200]
    assert Verifier.asked == ["/discover"]
    # A token is good for its own path, and another token is another.
    assert status(application, "/a/discover", "/discover!") == 401
    assert status(application, "/discover", "/a/discover!") == 401
    assert status(application, "/discover", None) == 401
    now[0] += 0.9
    assert status(application, "/discover", "/discover!") == 200
    assert len(Verifier.asked) == 4
    now[0] += 0.2
    assert status(application, "/discover", "/discover!") == 200
    assert len(Verifier.asked) == 5


def test_what_was_refused_is_not_remembered_and_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "PyIdentityVerifier", Verifier)
    monkeypatch.setattr(identity, "_MOST", 3)
    application = signed([restate.Service("Work")], [OWN])
    assert [status(application, "/discover", "wrong") for _ in range(2)] == [401, 401]
    assert len(Verifier.asked) == 2
    for path in ("/a/discover", "/b/discover", "/c/discover", "/d/discover", "/d/discover"):
        assert status(application, path, f"{path}!") == 200
    assert len(Verifier.asked) == 6


def test_without_keys_everybody_is_let_in() -> None:
    assert status(signed([restate.Service("Work")], []), "/discover", None) == 200
