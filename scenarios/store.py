"""The results folder: what an experiment leaves on disk, and how it is opened again."""

from __future__ import annotations

import copy
import json
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pyarrow.parquet import read_metadata

from scenarios.design import design_points, level, plan
from scenarios.errors import InputError, name_of
from scenarios.experiment import Experiment, parse
from scenarios.lock import LOCK, sole_use
from simulator.log import TABLES

#: Version of the folder's layout; in version 1 the plan had neither batches nor samples.
FORMAT = 2
READABLE = (1, 2)
#: A study is cut into about this many batches, each a part file a table.
BATCHES = 48
#: Ways of sampling whose first samples do not depend on how many there are.
CONTINUED = ("sobol", "random", "saltelli")
PACKAGES = ("dealer-market", "mesa", "numpy", "scipy", "scikit-learn", "pandas", "pyarrow")


class Results:
    """A results folder.

    Tables are written in parts, one a batch of runs, each to a temporary name that is then renamed; a part
    has the name of its batch, so a batch done again replaces its own part. The plan is written last.

    Parameters
    ----------
    folder : Path
        An existing results folder.

    Raises
    ------
    InputError
        If the folder is none, or of another version of the layout.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.provenance = _read_provenance(folder)
        try:
            self.plan = pd.read_parquet(folder / "plan.parquet")
        except (OSError, ValueError) as error:
            raise InputError(
                f"results: {str(folder / 'plan.parquet')!r} cannot be read ({_first_line(error)}); give another folder"
            ) from None
        if "batch" not in self.plan:
            self.plan["batch"] = self.plan["run"] // int(self.provenance["batch_size"])
            self.plan.insert(2, "sample", 0)
        self.experiment = parse(self.provenance["scenario"])

    @classmethod
    def create(cls, folder: Path, experiment: Experiment, *, write: bool = True) -> Results:
        """The folder of an experiment: made, or opened again if it holds the same one, perhaps a smaller one.

        Parameters
        ----------
        folder : Path
            The results folder.
        experiment : Experiment
            What it is to hold. What the folder lacks is added to its plan: replicates, values of swept lists, and
            samples of ranges, if these were drawn in a way that can be continued.
        write : bool
            Whether to write what is added to an existing folder; else it is known to the object alone.

        Raises
        ------
        InputError
            If the folder holds another experiment, or something else, or cannot be written.
        """
        try:
            if folder.exists() and not folder.is_dir():
                raise InputError(f"results: found {str(folder)!r}, which is a file; allowed is a folder")
            if not (folder / "experiment.json").exists():
                if folder.exists() and not all(_unfinished(path) for path in folder.iterdir()):
                    raise InputError(
                        f"results: found {str(folder)!r} with other files in it; allowed is an empty or new folder"
                    )
                folder.mkdir(parents=True, exist_ok=True)
            with sole_use(folder) if write else nullcontext():
                if (folder / "experiment.json").exists():
                    results = cls(folder)
                    kept, wanted = results.experiment.scenario(), experiment.scenario()
                    grown = _grown(kept, wanted)
                    _check_same(folder, grown, wanted)
                    # A folder that was left between the two files of an extension has a plan that is too short.
                    if grown != kept or len(results.plan) < len(design_points(experiment)) * experiment.replicates:
                        results._extend(experiment, write)
                    results._reopen_lost()
                    return results
                # The plan first: a folder with experiment.json is complete.
                runs = plan(experiment)
                batches = _batches(len(runs), len(runs), len(runs) // experiment.replicates)
                write_parquet(runs.assign(batch=batches), folder / "plan.parquet")
                _write_text(folder / "experiment.json", json.dumps(_provenance(experiment), indent=2) + "\n")
        except OSError as error:
            raise InputError(f"results: {str(folder)!r} cannot be used: {error}") from None
        return cls(folder)

    @property
    def points(self) -> list[dict[str, Any]]:
        """Parameter values of each design point, as they were run: samples are those that the plan keeps."""
        rows = self.plan.drop_duplicates("point").sort_values("point")
        levels = self.experiment.levels
        # Whether numbers stand as texts depends on the list's other values, and may have changed with an extension.
        shown = {
            key: {shown: v for v in values for shown in (level(v), str(level(v)))} for key, values in levels.items()
        }
        found: list[dict[str, Any]] = [{} for _ in range(len(rows))]
        for key in self.experiment.sweep:
            for settings, value in zip(found, rows[key].tolist(), strict=True):
                settings[key] = shown[key][value] if key in shown else value
        return found

    def batches(self, statuses: tuple[str, ...]) -> dict[int, pd.DataFrame]:
        """Runs of one of these statuses by batch, number -> their rows of the plan."""
        rows = self.plan[self.plan["status"].isin(statuses)]
        return {int(str(batch)): own for batch, own in rows.groupby("batch")}

    def write_batch(self, batch: int, tables: Mapping[str, pd.DataFrame], runs: pd.DataFrame) -> None:
        """Keep tables of a batch's runs, then the runs' statuses; its other runs keep theirs.

        Parameters
        ----------
        batch : int
            Number of the batch.
        tables : mapping of str to DataFrame
            Rows of its successful runs, with a column `run`.
        runs : DataFrame
            Columns `run`, `status`, `error`, `seconds` of its runs.
        """
        for name, table in tables.items():
            part = self._part(name, batch)
            kept = pd.read_parquet(part) if _readable(part) else pd.DataFrame({"run": []})
            kept = kept[~kept["run"].isin(runs["run"])]
            # Runs may succeed with nothing to say, as where nobody buys.
            whole = [rows for rows in (kept, table) if len(rows)]
            whole = whole or [rows for rows in (table, kept) if len(rows.columns) > 1][:1]
            if whole:
                part.parent.mkdir(exist_ok=True)
                write_parquet(pd.concat(whole, ignore_index=True), part)
            else:  # no run of the batch succeeded
                part.unlink(missing_ok=True)
        plan = self.plan.set_index("run")
        plan.update(runs.set_index("run"))
        write_parquet(plan.reset_index(), self.folder / "plan.parquet")
        self.plan = plan.reset_index()

    def note(self, **facts: Any) -> None:
        """Keep facts about the whole study beside its scenario."""
        self.provenance |= facts
        _write_text(self.folder / "experiment.json", json.dumps(self.provenance, indent=2) + "\n")

    def write_traceback(self, run: int, text: str) -> None:
        """Keep the traceback of a failed run."""
        file = self.traceback_file(run)
        file.parent.mkdir(exist_ok=True)
        _write_text(file, text)

    def traceback_file(self, run: int) -> Path:
        """Where the traceback of a failed run is kept."""
        return self.folder / "errors" / f"run-{run:06d}.txt"

    def table(self, name: str) -> pd.DataFrame:
        """A table over all runs done, sorted by run and the table's keys, with the swept parameters.

        Raises
        ------
        InputError
            If the experiment did not keep the table, or no run is done yet.
        """
        if name not in self.experiment.tables:
            kept = ", ".join(self.experiment.tables)
            raise InputError(f"results: {str(self.folder)!r} has no table {name!r}; it has {kept}")
        done = self.plan[self.plan["status"] == "done"]
        if done.empty:
            raise InputError(f"results: {str(self.folder)!r} has no finished run yet")
        lost = self._lost_parts(name)
        if lost:
            raise _lost(lost[0])
        parts = [self._part(name, batch) for batch in sorted(set(done["batch"]))]
        table = pd.concat([pd.read_parquet(part) for part in parts], ignore_index=True)
        table = table[table["run"].isin(done["run"])]
        keys = ["run", "point", "replicate", *self.experiment.sweep]
        ordered = table.sort_values(["run", *TABLES[name]], kind="stable", ignore_index=True)
        return done[keys].merge(ordered, on="run", how="inner", validate="one_to_many")

    def of_run(self, name: str, run: int) -> pd.DataFrame:
        """A table of one run alone, without the run's number; empty if the run is not done.

        Raises
        ------
        InputError
            If the part that should hold it cannot be read.
        """
        row = self.plan[(self.plan["run"] == run) & (self.plan["status"] == "done")]
        if row.empty:
            return pd.DataFrame()
        part = self._part(name, int(row["batch"].iloc[0]))
        if not _readable(part):
            raise _lost(part)
        rows = pd.read_parquet(part)
        return rows[rows["run"] == run].drop(columns="run").sort_values(list(TABLES[name]), kind="stable")

    def _extend(self, experiment: Experiment, write: bool) -> None:
        """Add the runs of further replicates and design points to the plan; those that are there keep their numbers."""
        kept, fresh = self.plan, plan(experiment)
        points = design_points(experiment)
        known, wanted = _identities(self.points, kept), _identities(points, fresh)
        if not set(known) <= set(wanted):
            raise InputError(
                f"results: {str(self.folder)!r} holds design points that are not among those wanted, as samples "
                f"by {experiment.design.sampling!r} of another size or by another version of SciPy are; give another "
                "folder with --out"
            )
        numbers = {identity: number for number, identity in enumerate(dict.fromkeys([*known, *wanted]))}
        fresh["point"] = np.array([numbers[identity] for identity in wanted])[fresh["point"]]
        runs = fresh.merge(
            kept[["point", "replicate", "run", "batch", "status", "error", "seconds"]],
            on=["point", "replicate"], how="left", suffixes=("_fresh", ""), validate="one_to_one",
        )  # fmt: skip
        new = runs["run"].isna().to_numpy()
        runs.loc[new, "run"] = kept["run"].max() + 1 + np.arange(new.sum())
        runs.loc[new, "batch"] = kept["batch"].max() + 1 + _batches(int(new.sum()), len(runs), len(points))
        for column in ("status", "error", "seconds"):
            runs[column] = runs[column].where(~new, runs[f"{column}_fresh"])
        self.plan = runs[kept.columns].astype({"run": "int64", "batch": "int64"}).sort_values("run", ignore_index=True)
        added = {**_surroundings(), "replicates": experiment.replicates, "points": len(points)}
        self.provenance |= {"format": FORMAT, "scenario": experiment.scenario()}
        self.provenance["extended"] = [*self.provenance.get("extended", []), added]
        self.experiment = experiment
        if write:
            _write_text(self.folder / "experiment.json", json.dumps(self.provenance, indent=2) + "\n")
            write_parquet(self.plan, self.folder / "plan.parquet")

    def _part(self, name: str, batch: int) -> Path:
        return self.folder / name / f"part-{batch:05d}.parquet"

    def _lost_parts(self, name: str) -> list[Path]:
        """Parts of a table that should hold finished runs and cannot be read."""
        done = self.plan.loc[self.plan["status"] == "done", "batch"]
        parts = (self._part(name, batch) for batch in sorted(set(done)))
        return [part for part in parts if not _readable(part)]

    def _reopen_lost(self) -> None:
        """Put finished runs whose rows are lost back to pending."""
        for name in self.experiment.tables:
            lost = {int(part.stem.removeprefix("part-")) for part in self._lost_parts(name)}
            self.plan.loc[self.plan["batch"].isin(lost) & (self.plan["status"] == "done"), "status"] = "pending"


def _unfinished(path: Path) -> bool:
    """Whether a file is what a process leaves that is killed while it makes a results folder."""
    return path.suffix == ".tmp" or path.name in (LOCK, "plan.parquet")


def _readable(part: Path) -> bool:
    try:
        read_metadata(part)
    except (OSError, ValueError):
        return False
    return True


def _lost(part: Path) -> InputError:
    return InputError(f"results: {str(part)!r} is missing or damaged; run the experiment again to do its runs anew")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


def _read_provenance(folder: Path) -> dict[str, Any]:
    file = folder / "experiment.json"
    try:
        provenance = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"results: found {str(folder)!r}, which is not a results folder") from None
    except (OSError, ValueError) as error:
        raise InputError(f"results: {str(file)!r} cannot be read: {_first_line(error)}") from None
    found = provenance.get("format") if isinstance(provenance, dict) else None
    if found not in READABLE:
        allowed = ", ".join(map(str, READABLE))
        raise InputError(f"results: {str(folder)!r} has layout version {found!r}; allowed are {allowed}")
    if not ({"scenario"} | ({"batch_size"} if found == 1 else set())) <= provenance.keys():
        raise InputError(f"results: {str(file)!r} lacks the scenario or the batch size; it was not written whole")
    return dict(provenance)


def write_parquet(frame: pd.DataFrame, path: Path) -> None:
    """Write a table under a temporary name, then rename it."""
    with _whole(path) as temporary:
        frame.to_parquet(temporary, index=False)


def _write_text(path: Path, text: str) -> None:
    with _whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A temporary file that gets its name when it is written, and goes if it cannot be."""
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb+") as file:  # so that a power cut does not leave the name without the content
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _provenance(experiment: Experiment) -> dict[str, Any]:
    return {"format": FORMAT, "scenario": experiment.scenario(), **_surroundings()}


def _batches(runs: int, total: int, whole: int) -> np.ndarray:
    """Numbers of the batches that runs are cut into, of a study of a total of runs; `whole` are a replicate's."""
    size = -(-total // BATCHES)
    # Runs of a replicate share their valuations, so a batch holds whole ones where they are small.
    if whole <= 2 * size or whole <= 12:
        size = -(-size // whole) * whole
    return np.arange(runs) // size


def _surroundings() -> dict[str, Any]:
    """When and where runs are done, and by which versions."""
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: package_version(name) for name in PACKAGES},
        "git": _git(),
    }


def package_version(package: str) -> str | None:
    """Version of an installed package; None if it is not."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git() -> dict[str, Any] | None:
    """Commit of the program's own checkout, None if it is not run from one."""
    home = Path(__file__).resolve().parents[1]
    if not (home / ".git").exists():
        return None
    try:
        commit, status = (
            subprocess.run(
                ["git", "-C", str(home), *command], capture_output=True, text=True, check=True, timeout=10
            ).stdout.strip()
            for command in (["rev-parse", "HEAD"], ["status", "--porcelain"])
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit, "dirty": bool(status)}


def _identities(points: list[dict[str, Any]], plan: pd.DataFrame) -> list[str]:
    """What makes each design point the one it is: its sample's number, and its parameters' values."""
    samples = plan.drop_duplicates("point").sort_values("point")["sample"].tolist()
    return [
        json.dumps(json.loads(json.dumps([sample, point]), parse_int=float), sort_keys=True)
        for sample, point in zip(samples, points, strict=True)
    ]


def _grown(kept: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """A scenario with the replicates, the values of lists and the samples that another one adds to it."""
    grown = copy.deepcopy(kept)
    grown["replicates"] = max(kept["replicates"], wanted["replicates"])
    for key, values in kept["sweep"].items():
        more = wanted["sweep"].get(key)
        if isinstance(values, list) and isinstance(more, list) and all(value in more for value in values):
            grown["sweep"][key] = more if len(more) > len(values) else values
    points, more = kept["design"]["points"], wanted["design"]["points"]
    if points is not None and more is not None and kept["design"]["sampling"] in CONTINUED:
        grown["design"]["points"] = max(points, more)
    return grown


def _check_same(folder: Path, kept: Any, wanted: Any) -> None:
    differences = list(_differences(kept, wanted, ""))
    if differences:
        name, before, now = differences[0]
        more = f" (and {len(differences) - 1} more differences)" if len(differences) > 1 else ""
        raise InputError(
            f"results: {str(folder)!r} holds another scenario, where {name} is {before!r}, not {now!r}{more}; "
            "give another folder with --out"
        )


def _differences(kept: Any, wanted: Any, name: str) -> Any:
    if isinstance(kept, dict) and isinstance(wanted, dict):
        for key in [*kept, *(key for key in wanted if key not in kept)]:
            yield from _differences(kept.get(key), wanted.get(key), f"{name}.{key}" if name else key)
    elif isinstance(kept, list) and isinstance(wanted, list) and len(kept) == len(wanted):
        for number, (before, now) in enumerate(zip(kept, wanted, strict=True)):
            named = name_of(before) if isinstance(before, dict) else None
            label = number if named is None else named
            yield from _differences(before, now, f"{name}.{label}")
    elif kept != wanted:
        yield name, kept, wanted
