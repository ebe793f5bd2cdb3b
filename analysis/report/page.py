"""The page of a report, and the files beside it."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from jinja2 import Environment, PackageLoader, select_autoescape
from matplotlib.figure import Figure

from analysis import plots
from analysis.compare import Question
from analysis.report.about import SAMPLING, plan_summary, scenario_file, shown_parameters, swept_parameters
from analysis.report.caveats import caveats
from analysis.report.figures import Drawing, drawings
from analysis.report.subject import Subject
from analysis.report.tables import Shown, answers, regressions, sensitivities
from scenarios.errors import InputError
from scenarios.store import Results


def write_report(results: Results, asked: Question | None = None, metrics: tuple[str, ...] = ()) -> Path:
    """Write the report of an experiment: figures, tables, and one self-contained page.

    Figures are in `figures/` as PNG and PDF, tables in `tables/` as LaTeX, Markdown and CSV, the page is `report.html`.
    The same results give the same files, byte by byte.

    Parameters
    ----------
    results : Results
        The experiment, with a finished run.
    asked : Question, optional
        What is compared with what; none where no list is swept.
    metrics : tuple of str
        Columns of the rounds table where nothing is compared; by default the scenario's.

    Returns
    -------
    Path
        The page.
    """
    subject = Subject.of(results, asked, metrics)
    shown, rows = answers(subject)
    more = [*sensitivities(subject), *regressions(subject)]
    for table in [*shown, *more]:
        _write_table(table, results.folder / "tables")
    figures, left_out = _figures(subject, results.folder / "figures")
    warnings = caveats(subject, rows)
    warnings += [f"Figures left out: {', '.join(names)} ({reason})." for reason, names in left_out.items()]
    environment = Environment(loader=PackageLoader("analysis"), autoescape=select_autoescape(), trim_blocks=True)
    html = environment.get_template("report.html").render(
        experiment=results.experiment,
        key=shown[0],
        tables=[*shown[1:], *more],
        figures=figures,
        plan=plan_summary(results),
        sampling=SAMPLING[results.experiment.design.sampling],
        swept=swept_parameters(results),
        warnings=warnings,
        parameters=shown_parameters(results),
        provenance=results.provenance,
        folder=results.folder.name,
        scenario=scenario_file(results),
    )
    page = results.folder / "report.html"
    page.write_text(html, encoding="utf-8")
    return page


def _write_table(shown: Shown, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for ending, text in shown.files().items():
        (folder / f"{shown.name}.{ending}").write_text(text + "\n", encoding="utf-8")


def _figures(subject: Subject, folder: Path) -> tuple[list[dict[str, str]], dict[str, list[str]]]:
    """Figures as the page has them, and the names of those that cannot be drawn, by the reason."""
    found: list[dict[str, str]] = []
    left_out: dict[str, list[str]] = {}
    for drawing in drawings(subject):
        try:
            figure = drawing.draw()
        except InputError as error:
            left_out.setdefault(str(error), []).append(drawing.name)
        else:
            found.append(_embedded(drawing, figure, folder))
    return found, left_out


def _embedded(drawing: Drawing, figure: Figure, folder: Path) -> dict[str, str]:
    """A figure as the page has it, after its files are written."""
    # The layout is solved once, not anew for each file.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    folder.mkdir(exist_ok=True)
    for kind in ("png", "pdf"):
        plots.save(figure, folder / f"{drawing.name}.{kind}", kind)
    svg = io.BytesIO()
    plots.save(figure, svg, "svg")
    return {"data": base64.b64encode(svg.getvalue()).decode(), "name": drawing.name, "caption": drawing.caption}
