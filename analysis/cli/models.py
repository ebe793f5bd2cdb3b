"""Commands for private models: train, calibrate."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from analysis.cli.app import (
    FAILED,
    Json,
    Plot,
    Settings,
    Workers,
    app,
    check_figure,
    check_folder,
    find_own_classes,
    processors,
    save_figure,
    split_names,
    write_text,
)
from analysis.cli.progress import Progress
from scenarios.errors import InputError


class Kinds(StrEnum):
    """Kinds of private classifiers."""

    logistic = "logistic"
    svm = "svm"


class Unit(StrEnum):
    """What a guarantee covers any one of."""

    record = "record"
    owner = "owner"


@app.command()
def train(
    data: Annotated[Path, typer.Argument(metavar="DATA.csv", help="A CSV file of records: a class, and features.")],
    label: Annotated[str, typer.Option(metavar="COLUMN", help="Column of the class of each record.")],
    epsilon: Annotated[float, typer.Option(help="Privacy parameter of the model, > 0.")],
    delta: Annotated[float, typer.Option(help="The other privacy parameter, between 0 and 1.")] = 1e-5,
    model: Annotated[Kinds, typer.Option(help="Logistic regression, or a support vector machine.")] = Kinds.logistic,
    method: Annotated[
        str, typer.Option(help="auto, objective, amp (for records as units), output or gradient.")
    ] = "auto",
    neighbours: Annotated[
        str,
        typer.Option(
            help="What is hidden of a record, or of an owner: replace-one, its content; add-remove, its presence."
        ),
    ] = "replace-one",
    owners: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column of the owner of each record, which is no feature.")
    ] = None,
    unit: Annotated[
        Unit | None, typer.Option(help="What the guarantee covers any one of; owners by default where they are given.")
    ] = None,
    data_norm: Annotated[
        float, typer.Option(help="Norm to which rows are clipped; not to be read off the data.")
    ] = 1.0,
    scales: Annotated[
        str | None,
        typer.Option(
            metavar="SCALES.csv|own",
            help="Public constants to scale by: a CSV file with the columns feature, centre, scale; or `own`, which "
            "declares mean and deviation of the training records to be public.",
        ),
    ] = None,
    classes: Annotated[
        str | None, typer.Option(metavar="A,B,...", help="The possible classes, where they are public knowledge.")
    ] = None,
    test_share: Annotated[
        float, typer.Option(help="Share of the records held out to measure accuracy, from 0 (none) to below 1.")
    ] = 0.2,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the records held out.")] = 0,
    noise_seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of the noise, for rehearsals: the model is then not private.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="MODEL.json", help="Write the weights, and what may be published of the card, to a file."),
    ] = None,
    json_: Json = False,
) -> None:
    """Train a private classifier on records, and say what is guaranteed.

    Every column besides the label and the owners is a feature, and must hold numbers. Rows longer than the norm are
    clipped, so features should be brought to a common scale of about 1 by constants that do not come from the
    records. Records are held out for the accuracy so that neighbouring data sets train on neighbouring ones: whole
    owners, by their names, where these are the unit; records by their content where their presence is hidden. The card
    lists what the guarantee leaves out.

    Examples
    --------
        dealer train records.csv --label diagnosis --epsilon 1

        dealer train records.csv --label diagnosis --epsilon 1 --owners hospital --scales ranges.csv --out model.json

        dealer train records.csv --label diagnosis --epsilon 4 --model svm --neighbours add-remove --scales own --json
    """
    if not 0 <= test_share < 1:
        raise InputError(f"--test-share: found {test_share}; allowed are numbers from 0 to below 1")
    if unit is Unit.owner and owners is None:
        raise InputError("--unit: found 'owner' without --owners; allowed with a column of owners")
    if out is not None:
        check_folder(out)
    from analysis.inputs import read_record_table, read_scales
    from analysis.model_cards import as_json, card_text, model_file, train_model
    from analysis.tables import plain

    table = read_record_table(data, label, owners)
    try:
        card, weights = train_model(
            table,
            model=model.value,
            constants=None if scales in (None, "own") else read_scales(Path(scales), table.names),
            own_scaling=scales == "own",
            classes=None if classes is None else split_names("--classes", classes),
            unit=(unit or (Unit.record if owners is None else Unit.owner)).value,
            test_share=test_share,
            split_seed=seed,
            noise_seed=noise_seed,
            epsilon=epsilon,
            delta=delta,
            method=method,
            neighbours=neighbours,
            data_norm=data_norm,
        )
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{str(data)!r} cannot be trained on: {error}") from None
    except RuntimeError as error:  # the solver stopped short of what the guarantee asks for
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(FAILED) from None
    if out is not None:
        write_text(out, json.dumps(plain(model_file(card, weights)), indent=1))
    if json_:
        typer.echo(json.dumps(plain(as_json(card))))
    else:
        typer.echo(card_text(card))


@app.command()
def calibrate(
    scenario: Annotated[str, typer.Argument(help="A scenario of the library (see `dealer list scenarios`) or a file.")],
    out: Annotated[Path, typer.Option(metavar="CURVE.json", help="File to write the curve to.")],
    set_: Settings = None,
    replicates: Annotated[int, typer.Option(min=2, help="Splits of the data set to train on.")] = 20,
    epsilons: Annotated[
        str | None,
        typer.Option(
            metavar="EPS,EPS...",
            help="Versions to train, such as 0.5,1,2; by default 0.1 to 10 and those of the scenario.",
        ),
    ] = None,
    workers: Workers = None,
    json_: Json = False,
    plot: Plot = None,
) -> None:
    """Calibrate the surrogate for training: a curve of accuracy over epsilon, coverage and records.

    The scenario's own trainer is run on many purchases from its owners, and a smooth curve is fitted. Shown are its
    errors on markets that it was not fitted to, in points of accuracy, beside the noise of a single training. A
    scenario uses the curve by `broker.training.method = "surrogate"` and `broker.training.curve = "CURVE.json"`.

    Examples
    --------
        dealer calibrate demo --out curve.json --plot curve.pdf

        dealer calibrate my.toml --out svm.json --set broker.training.model=svm --replicates 40

        dealer run my.toml --set broker.training.method=surrogate --set broker.training.curve=curve.json
    """
    check_figure(plot)
    if out.suffix != ".json":
        raise InputError(f"--out: found {str(out)!r}; allowed are files that end in .json")
    check_folder(out)
    find_own_classes(scenario)
    from analysis.curves import error_table, formula
    from analysis.inputs import parse_epsilons
    from analysis.tables import plain, text_table
    from scenarios.calibration import calibrate
    from scenarios.design import markets
    from scenarios.experiment import load

    levels = None if epsilons is None else parse_epsilons(epsilons)
    experiment = load(scenario, set_ or [])
    market = markets(experiment.model_copy(update={"sweep": {}, "comparison": None}))[0]
    with Progress(out.stem, "split", replicates) as progress:
        curve, trials = calibrate(
            market,
            seed=experiment.seed,
            replicates=replicates,
            epsilons=levels,
            workers=workers or processors(),
            import_path=tuple(sys.path),
            progress=progress.add,
        )
    try:
        curve.save(out)
    except OSError as error:
        raise InputError(f"--out: {str(out)!r} cannot be written: {error.strerror or error}") from None
    if plot is not None:
        from analysis import plots

        save_figure(plots.accuracy_curve(curve, trials), plot)
    if json_:
        typer.echo(json.dumps(plain(curve)))
    else:
        typer.echo(text_table(error_table([curve])) + "\n\n" + formula(curve) + f"\nCurve: {out}")
