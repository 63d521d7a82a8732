"""Restate's public keys as people have them."""

import base64

import pytest

from tandem.engines.restate.identity import read_identity_keys
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
