"""Valuations kept by content, in the process and on disk: a sweep over buyers values the same data again and again.

What is kept is the values, not where their sampling stands. A result is the same whether it was kept or not: the
key holds all that determines it, down to the code of this package and the numerical libraries.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import pkgutil
import platform
import sys
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np

from simulator.valuation.estimator import Valuation

#: Valuations kept in a process; a replicate's runs follow each other, so few are enough.
CAPACITY = 128
#: A valuation that takes fewer seconds is not worth a file.
WORTH_A_FILE = 0.2
#: Folder of the files, or "off" for none; what is kept in the process costs nothing to share.
VARIABLE = "DEALER_CACHE"
_kept: OrderedDict[str, Valuation] = OrderedDict()


def cached_valuation(
    content: Iterable[np.ndarray], settings: str, compute: Callable[[], Valuation], *, on_disk: bool = True
) -> Valuation:
    """The valuation of this content under these settings, computed at most once while it is kept.

    Parameters
    ----------
    content : iterable of array
        Arrays that determine the game.
    settings : str
        All else that determines the result: game, estimator, options, budget, tolerance, random stream.
    compute : callable
        Computes the valuation.
    on_disk : bool
        Whether it may be kept in a file as well. Not where code of a user's own computes it, which may change.
    """
    digest = hashlib.blake2b(settings.encode())
    for array in content:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    key = digest.hexdigest()
    if key in _kept:
        _kept.move_to_end(key)
        return _kept[key]
    folder = cache_folder() if on_disk else None
    file = folder / f"{_digest(key, _code(), _libraries())}.npz" if folder else None
    valuation = _read(file) if file else None
    if valuation is None:
        start = time.perf_counter()
        valuation = replace(compute(), sampling=None)
        if file and time.perf_counter() - start >= WORTH_A_FILE:
            _write(file, valuation)
    _kept[key] = valuation
    for kept in (valuation.values, valuation.stderr, valuation.freedom):
        if kept is not None:
            kept.setflags(write=False)  # it is handed out again
    if len(_kept) > CAPACITY:
        _kept.popitem(last=False)
    return valuation


def clear_valuations() -> None:
    """Forget the valuations kept in this process."""
    _kept.clear()


def cache_folder() -> Path | None:
    """Where valuations are kept on disk: $DEALER_CACHE, else the platform's cache folder; None if it is "off"."""
    chosen = os.environ.get(VARIABLE)
    if chosen:
        return None if chosen == "off" else Path(chosen)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "dealer-market" / "valuations"


def kept_files() -> list[Path]:
    """Files of the valuations kept on disk."""
    folder = cache_folder()
    return sorted(folder.glob("*.npz")) if folder else []


def _digest(*texts: str) -> str:
    return hashlib.blake2b(" ".join(texts).encode(), digest_size=20).hexdigest()


@cache
def _code() -> str:
    """Digest of this package's source: a valuation by other code is another valuation."""
    package = importlib.import_module(__package__)
    digest = hashlib.blake2b()
    for module in pkgutil.iter_modules(package.__path__):
        digest.update((Path(package.__path__[0]) / f"{module.name}.py").read_bytes())
    return digest.hexdigest()


def _libraries() -> str:
    """What else may round differently: libraries, the processor they are made for, threads."""
    from threadpoolctl import threadpool_info

    told = ("internal_api", "version", "architecture", "num_threads")
    pools = sorted(str([pool.get(name) for name in told]) for pool in threadpool_info())
    return " ".join([platform.machine(), *_versions(), *pools])


@cache
def _versions() -> list[str]:
    return [version(name) for name in ("numpy", "scipy", "scikit-learn")]


def _read(file: Path) -> Valuation | None:
    """The valuation of a file; None if there is none, or it is damaged."""
    try:
        with file.open("rb") as handle, np.load(handle) as kept:
            return Valuation(
                kept["values"],
                kept["stderr"],
                int(kept["evaluations"]),
                str(kept["method"]),
                str(kept["status"]),  # type: ignore[arg-type]  # as it was written
                int(kept["samples"]),
                freedom if (freedom := kept["freedom"]).size else None,
                stream=str(kept["stream"]),
                updated=bool(kept["updated"]),
            )
    except Exception:  # a damaged file may fail in any way, and is as good as none
        return None


def _write(file: Path, valuation: Valuation) -> None:
    """Write under another name first, so that no other process ever reads half a file."""
    fields = {name: value for name, value in vars(valuation).items() if name != "sampling"}
    if valuation.freedom is None:
        fields["freedom"] = np.empty(0)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor, part = tempfile.mkstemp(dir=file.parent, suffix=".part")
        try:
            with os.fdopen(descriptor, "wb") as handle:
                np.savez(handle, **fields)
            os.replace(part, file)
        except BaseException:
            os.unlink(part)
            raise
    except OSError:
        return  # a cache that cannot be written, as on a full disk, is no reason to fail
