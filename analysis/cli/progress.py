"""How far long work has come, on stderr: a bar on a terminal, elsewhere a line a minute."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

import typer

#: Seconds between two lines where there is no terminal.
PAUSE = 60.0


class Progress:
    """Progress of work that consists of many equal pieces.

    Parameters
    ----------
    name : str
        What is worked on.
    unit : str
        What a piece is called.
    total : int
        How many pieces there are.
    done : int
        How many of them were done before; the rate and the time left are by what is done now.
    quiet : bool
        Whether to say nothing.
    """

    def __init__(self, name: str, unit: str, total: int, *, done: int = 0, quiet: bool = False) -> None:
        self._name, self._unit = name, unit
        self._total, self._before, self._done = total, done, done
        self._failed = 0
        self._quiet = quiet
        self._start = self._said = time.monotonic()
        self._bar: Any = None
        if not quiet and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, initial=done, unit=unit, desc=name, smoothing=0, dynamic_ncols=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.close()

    def add(self, pieces: int = 1, failed: int = 0) -> None:
        """Tell that pieces are done, of which some failed."""
        self._done += pieces
        self._failed += failed
        if self._bar is not None:
            if self._failed:
                self._bar.set_postfix_str(f"{self._failed} failed", refresh=False)
            self._bar.update(pieces)
        elif not self._quiet and time.monotonic() - self._said >= PAUSE:
            self._said = time.monotonic()
            typer.echo(self._line(self._said - self._start), err=True)

    def _line(self, seconds: float) -> str:
        rate = (self._done - self._before) / seconds
        left = time_of(round((self._total - self._done) / rate)) if rate else "unknown"
        speed = f"{rate:,.1f}" if rate >= 10 else f"{rate:.3g}"
        return (
            f"{self._name}: {self._done:,} of {self._total:,} {self._unit}s done, {self._failed:,} failed, "
            f"{speed} a second, {left} left"
        )


def time_of(seconds: int) -> str:
    """A time as days, hours, minutes and seconds, as in "1 d 02:03:04"."""
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{days} d " * bool(days) + f"{hours:02}:{minutes:02}:{seconds:02}"
