"""One process at a time works on a results folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from scenarios.errors import InputError

#: The file that is locked. It stays; what counts is whether a living process holds it.
LOCK = ".lock"
_held: set[Path] = set()


@contextmanager
def sole_use(folder: Path) -> Iterator[None]:
    """Keep other processes off a folder; one that is killed lets go. May be nested within a process.

    Nobody is kept off where files cannot be written or locked, as on some network file systems.

    Parameters
    ----------
    folder : Path
        An existing folder.

    Raises
    ------
    InputError
        If another process works on it.
    """
    place = folder.resolve()
    if place in _held:
        yield
        return
    file: IO[bytes] | None = None
    with suppress(OSError):
        file = (place / LOCK).open("ab")
    if file is None:
        yield
        return
    with file:
        try:
            _lock(file)
        except (BlockingIOError, PermissionError):
            raise InputError(
                f"results: another process works on {str(folder)!r}; wait for it, or give another folder with --out"
            ) from None
        except OSError:  # no locks here
            pass
        _held.add(place)
        try:
            yield
        finally:
            _held.remove(place)


def _lock(file: IO[bytes]) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
