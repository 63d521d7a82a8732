"""Settings from the environment, with errors that name the variable, its value and the way out."""

from collections.abc import Mapping

from django.core.exceptions import ImproperlyConfigured
from django.utils.csp import CSP

__all__ = ["CONTENT_SECURITY_POLICY", "boolean", "number", "secret_key", "words"]

DEVELOPMENT_KEY = "insecure-key-for-development-only"
LOCAL_HOSTS = ["localhost", "127.0.0.1", "[::1]"]

CONTENT_SECURITY_POLICY = {
    "default-src": [CSP.SELF],
    # The empty icon.
    "img-src": [CSP.SELF, "data:"],
    "form-action": [CSP.SELF],
    "base-uri": [CSP.NONE],
    "frame-ancestors": [CSP.NONE],
}


def words(environment: Mapping[str, str], name: str, default: list[str] | None = None) -> list[str]:
    """Read a list whose items are separated by commas."""
    text = environment.get(name, "")
    return [word.strip() for word in text.split(",") if word.strip()] or list(default or [])


def boolean(environment: Mapping[str, str], name: str) -> bool:
    """Read yes or no; absent or empty is no."""
    text = environment.get(name, "").lower()
    if text in {"1", "true", "yes", "on"}:
        return True
    if text in {"", "0", "false", "no", "off"}:
        return False
    raise ImproperlyConfigured(f"{name}={environment[name]!r} is neither yes nor no: set it to 1 or 0.")


def number(environment: Mapping[str, str], name: str, default: int) -> int:
    """Read a whole number above 0."""
    text = environment.get(name) or str(default)
    if not (text.isascii() and text.isdigit()) or int(text) == 0:
        raise ImproperlyConfigured(f"{name}={text!r} is not a whole number above 0: set it to one such as {default}.")
    return int(text)


def secret_key(environment: Mapping[str, str]) -> str:
    """Return SECRET_KEY. The development default holds only while nobody but this machine is served."""
    if key := environment.get("SECRET_KEY"):
        return key
    if set(words(environment, "ALLOWED_HOSTS")) - set(LOCAL_HOSTS):
        raise ImproperlyConfigured(
            f"ALLOWED_HOSTS={environment['ALLOWED_HOSTS']!r} serves more than this machine, which needs a SECRET_KEY:"
            " set it to 50 random characters."
        )
    return DEVELOPMENT_KEY
