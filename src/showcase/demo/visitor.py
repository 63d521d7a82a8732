"""A person with an account, at the site's pages."""

import http.cookiejar
import os
import re
import secrets
import urllib.parse
import urllib.request
from collections.abc import Mapping
from html import unescape
from typing import IO, Self

from django.contrib.auth.models import User

from showcase.demo import observe

__all__ = ["Visitor"]

NAME = "demo"
UPLOAD_SECONDS = 120


class Visitor:
    """The demonstration's own account, and a browser that is signed in to it. Each demonstration has a new password."""

    def __init__(self, *, user: User, password: str) -> None:
        self.user = user
        self.password = password
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._opener = urllib.request.build_opener(cookies)

    @classmethod
    def signed_in(cls) -> Self:
        """Make the account, or give it a new password, and sign in; it is staff's, so it sees all that was enqueued."""
        user, _ = User.objects.get_or_create(username=NAME, defaults={"email": f"{NAME}@example.com"})
        password = secrets.token_urlsafe(9)
        user.is_staff = True
        user.set_password(password)
        user.save()
        visitor = cls(user=user, password=password)
        page = visitor._sign_in()
        if "Sign out" not in page:
            raise observe.ScenarioError(f"{NAME} could not sign in: {page}")
        return visitor

    def address(self, path: str) -> str:
        """The URL of a page."""
        return urllib.parse.urljoin(os.environ["TANDEM_DEMO_SITE_URL"], path)

    def read(self, path: str) -> str:
        """The words of a page."""
        return self._words(self.address(path))

    def token(self, path: str) -> str:
        """What a form of that page must send along."""
        with self._opener.open(self.address(path), timeout=observe.REQUEST_SECONDS) as answer:
            found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', answer.read().decode())
        if found is None:
            raise observe.ScenarioError(f"{path} has no form.")
        return found[1]

    def post(self, path: str, content: IO[bytes], headers: Mapping[str, str]) -> str:
        """Send a form, and answer the URL of the page that comes."""
        request = urllib.request.Request(self.address(path), content, dict(headers))  # noqa: S310 - the stack's own
        with self._opener.open(request, timeout=UPLOAD_SECONDS) as answer:
            return str(answer.url)

    def _sign_in(self) -> str:
        path = "/accounts/login"
        fields = {"username": NAME, "password": self.password, "csrfmiddlewaretoken": self.token(path)}
        return self._words(self.address(path), urllib.parse.urlencode(fields).encode())

    def _words(self, url: str, content: bytes | None = None) -> str:
        with self._opener.open(url, content, timeout=observe.REQUEST_SECONDS) as answer:
            text = re.sub(r"<[^>]*>", " ", answer.read().decode())
        return " ".join(unescape(text).split())
