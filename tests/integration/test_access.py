"""Who may look: every page of the showcase, by anybody, by another account, by the owner and by staff."""

from importlib import import_module
from typing import Any
from uuid import uuid4

import pytest
from django.urls import URLPattern, URLResolver

from tests.integration.site import Site, execution_id

PUBLIC = {"home", "health", "asset", "login", "logout", "create", "sample"}
OWNED = {"execution", "cancel", "retry", "batch", "job", "analysis", "delete", "download"}


def pages(patterns: list[Any], prefix: str = "/") -> list[tuple[str, str]]:
    """The name and the path of each page, with its parameters' places."""
    found: list[tuple[str, str]] = []
    for pattern in patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            found += pages(pattern.url_patterns, path)
        elif isinstance(pattern, URLPattern):
            found.append((str(pattern.name), path))
    return found


def signs_in(site: Site, path: str) -> bool:
    return "/accounts/login" in site.open(path).url


@pytest.mark.parametrize(("name", "path"), pages(import_module("showcase.urls").urlpatterns))
def test_no_page_shows_what_is_somebody_elses(site: Site, name: str, path: str) -> None:
    path = path.replace("<uuid:pk>", str(uuid4())).replace("<str:name>", "orders-small.csv")
    if name in PUBLIC:
        assert not signs_in(Site(site.stack), path) or name == "login"
        return
    assert signs_in(Site(site.stack), path)
    if name in OWNED:
        assert site.open(path).status in {404, 405}
        return
    assert not signs_in(site, path)


def test_an_execution_is_its_owners_and_staffs(site: Site) -> None:
    page = site.finished(site.send("reject@example.com", "celery"))
    id_ = execution_id(page)
    batch = site.post(
        "/emails/bulk", {"many-subject": "x", "many-body": "x"}, ("many-file", b"email\nann@example.com\n")
    )
    assert batch.status == 200
    stranger, other, staff = Site(site.stack), site.visitor(), site.visitor()
    with site.ledger() as database:
        database.execute("UPDATE auth_user SET is_staff = TRUE WHERE username = %s", [staff.name])
    for path in (page.url, batch.url):
        assert signs_in(stranger, path)
        assert [who.open(path).status for who in (other, site, staff)] == [404, 200, 200]
    for action in ("retry", "cancel"):
        assert "/accounts/login" in stranger.post(f"/executions/{id_}/{action}", {"engine": ""}).url
        assert other.post(f"/executions/{id_}/{action}", {"engine": ""}).status == 404
    assert "reject@example.com" not in stranger.open("/executions/").text
    assert "reject@example.com" not in other.open("/executions/").text
    assert "reject@example.com" in site.open("/executions/").text
    assert "reject@example.com" in staff.open("/executions/").text
    with site.ledger() as database:
        database.execute("UPDATE tandem_execution SET owner = NULL WHERE id = %s", [id_])
    assert [who.open(page.url).status for who in (other, site, staff)] == [404, 404, 200]
    assert staff.post(f"/executions/{id_}/retry", {"engine": ""}).status == 200
