"""Commands for one mechanism at a time, on files of one's own: price, arbitrage, procure, value."""

from __future__ import annotations

import json
import math
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from analysis.cli.app import Json, Plot, app, check_figure, find_own_classes, parse_options, parse_settings, save_figure
from scenarios.errors import InputError


class Rule(StrEnum):
    """What a bundle of versions is worth."""

    additive = "additive"
    quadratic = "quadratic"


class Empty(StrEnum):
    """What no records are worth."""

    constant = "constant"
    zero = "zero"


Bundles = Annotated[
    Rule,
    typer.Option(
        "--composition",
        help="What a bundle of versions is worth: the sum of its epsilons, or the root of the sum of their squares.",
    ),
]


@app.command()
def price(
    survey: Annotated[
        Path,
        typer.Argument(
            metavar="SURVEY.csv",
            help="A CSV file with the columns epsilon and value, a row an answer: the version a buyer wants and what "
            "it would pay for it. A column weight, if there is one, says how many buyers the answer stands for.",
        ),
    ],
    strategy: Annotated[
        str, typer.Option(help="A pricing strategy (see `dealer list strategies`), or your own as module:Class.")
    ] = "dpp_plus",
    epsilons: Annotated[
        str | None,
        typer.Option(
            metavar="EPS,EPS...",
            help="Versions to price besides those of the file, such as 0.5,1,2: it names versions nobody asked for.",
        ),
    ] = None,
    composition: Bundles = Rule.additive,
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="An option of the strategy, such as `raw=true`; may be repeated."),
    ] = None,
    json_: Json = False,
    plot: Plot = None,
) -> None:
    """Price the versions of a model from the answers of a survey.

    The versions are the distinct epsilons of the survey, numbered from 0 by rising epsilon. Shown are the list,
    what it earns if everybody buys as stated, what no arbitrage-free list can exceed, and the bundle that
    undercuts the list, if there is one. Messages count rows as a spreadsheet does: the header is row 1.

    Examples
    --------
        dealer price survey.csv

        dealer price survey.csv --strategy linear --option raw=true --composition quadratic

        dealer price survey.csv --epsilons 0.5,1,2 --plot prices.pdf

        dealer price survey.csv --json
    """
    import numpy as np

    from analysis.inputs import EPSILON, POSITIVE, check_versions, parse_epsilons, read_columns
    from analysis.price_lists import price_survey, price_table, summary
    from analysis.tables import plain, text_table
    from simulator.pricing import Survey
    from simulator.pricing.strategy import PRICING

    check_figure(plot)
    find_own_classes(str(survey))
    options = parse_options(PRICING, "--strategy", strategy, option or [], "raw=true")
    chosen = PRICING.create(strategy, options)
    more = parse_epsilons(epsilons) if epsilons is not None else np.empty(0)
    answers = read_columns(survey, {"epsilon": EPSILON, "value": POSITIVE}, {"weight": POSITIVE})
    versions = check_versions(np.union1d(answers["epsilon"], more))
    asked = Survey(np.searchsorted(versions, answers["epsilon"]), answers["value"], answers.get("weight"))
    try:
        priced = price_survey(versions, asked, chosen, name=strategy, composition=composition.value)
    except ValueError as error:
        raise InputError(f"--strategy: {error}") from None
    if plot is not None:
        from analysis import plots

        save_figure(plots.survey_pricing(priced, asked), plot)
    if json_:
        typer.echo(json.dumps(plain(priced)))
    else:
        typer.echo(text_table(price_table(priced)) + "\n\n" + summary(priced))


@app.command()
def arbitrage(
    prices: Annotated[
        Path,
        typer.Argument(metavar="PRICES.csv", help="A CSV file with the columns epsilon and price, a row a version."),
    ],
    composition: Bundles = Rule.additive,
    json_: Json = False,
    plot: Plot = None,
) -> None:
    """Find the bundle of cheap versions that undercuts a dear one, if a price list admits it.

    Shown are the bundle that saves most and the cheapest cover of every version, numbered from 0 by rising
    epsilon. With --json it is the bundle alone, or null. The exit code is 0 either way.

    Examples
    --------
        dealer arbitrage prices.csv

        dealer arbitrage prices.csv --composition quadratic --plot covers.svg

        dealer arbitrage prices.csv --json
    """
    from analysis.inputs import EPSILON, NON_NEGATIVE, check_versions, read_columns
    from analysis.price_lists import cheapest_covers, cover_table, in_words
    from analysis.tables import plain, text_table
    from simulator.pricing import find_arbitrage

    check_figure(plot)
    table = read_columns(prices, {"epsilon": EPSILON, "price": NON_NEGATIVE}).sort_values("epsilon", kind="stable")
    again = table.index[table["epsilon"].duplicated(keep=False)][:2]
    if len(again):
        rows = " and ".join(map(str, again))
        raise InputError(f"epsilon: found {table['epsilon'][again[0]]:g} in rows {rows}; allowed is one row a version")
    versions, posted = check_versions(table["epsilon"].to_numpy()), table["price"].to_numpy()
    found = find_arbitrage(versions, posted, composition=composition.value)
    if plot is not None:
        from analysis import plots

        save_figure(plots.arbitrage(versions, posted, composition=composition.value), plot)
    if json_:
        typer.echo(json.dumps(plain(found)))
    else:
        covers = cheapest_covers(versions, posted, composition=composition.value)
        typer.echo(in_words(found, versions, posted) + "\n\n" + text_table(cover_table(covers, versions, posted)))


@app.command()
def procure(
    offers: Annotated[
        Path,
        typer.Argument(
            metavar="OFFERS.csv",
            help="A CSV file with the columns owner, value and cost, a row an owner: its name, the Shapley value of "
            "its shard and what it asks.",
        ),
    ],
    budget: Annotated[float, typer.Option(help="Money to spend, 0 or more.")],
    method: Annotated[
        str, typer.Option(help="A procurement method (see `dealer list procurement`), or your own as module:Class.")
    ] = "exact",
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="An option of the method, such as `alpha=0.25`; may be repeated."),
    ] = None,
    json_: Json = False,
    plot: Plot = None,
) -> None:
    """Buy the most valuable set of shards that a budget affords.

    Shown are the owners bought, what they are worth and cost together, their coverage (the share of all positive
    value), and what no affordable set exceeds. A method that draws at random does so from seed 0. The figure shows
    coverage against the budget for every method.

    Examples
    --------
        dealer procure offers.csv --budget 100

        dealer procure offers.csv --budget 100 --method guess_greedy --option alpha=0.25 --plot coverage.pdf

        dealer procure offers.csv --budget 100 --json
    """
    from analysis.inputs import ANY, NON_NEGATIVE, read_columns
    from analysis.purchases import named, offer_table, summary
    from analysis.tables import plain, text_table
    from simulator.procurement import maximize_coverage
    from simulator.procurement.method import PROCUREMENT

    check_figure(plot)
    find_own_classes(str(offers))
    if not (math.isfinite(budget) and budget >= 0):
        raise InputError(f"--budget: found {budget:g}; allowed are amounts >= 0")
    options = parse_options(PROCUREMENT, "--method", method, option or [], "alpha=0.25")
    table = read_columns(offers, {"value": ANY, "cost": NON_NEGATIVE}, names="owner")
    values, costs = table["value"].to_numpy(), table["cost"].to_numpy()
    try:
        bought = maximize_coverage(values, costs, budget, method=method, **options)
    except (ValueError, RuntimeError) as error:
        raise InputError(f"--method: {error}") from None
    if plot is not None:
        from analysis import plots

        save_figure(plots.coverage_by_budget(values, costs, budget, method, options), plot)
    if json_:
        typer.echo(json.dumps(plain(named(bought, table["owner"]))))
    else:
        typer.echo(text_table(offer_table(bought, table)) + "\n\n" + summary(bought, values, budget, method))


@app.command()
def value(
    data: Annotated[
        Path, typer.Argument(metavar="DATA.csv", help="A CSV file of records: a class, an owner, and features.")
    ],
    label: Annotated[str, typer.Option(metavar="COLUMN", help="Column of the class of each record.")],
    owners: Annotated[str, typer.Option(metavar="COLUMN", help="Column of the owner of each record.")],
    method: Annotated[
        str, typer.Option(help="A valuation method (see `dealer list valuation`), auto, or your own as module:Class.")
    ] = "auto",
    budget: Annotated[int, typer.Option(min=1, help="Models that sampling may train and test.")] = 20_000,
    tolerance: Annotated[float, typer.Option(min=0, help="Relative error at which sampling stops.")] = 0.05,
    game: Annotated[
        str, typer.Option(help="What records are worth (see `dealer list games`), or your own as module:Class.")
    ] = "ridge",
    game_option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="An option of the game, such as `ridge=10`; may be repeated."),
    ] = None,
    empty: Annotated[
        Empty, typer.Option(help="What no records are worth: the best constant prediction, or zero.")
    ] = Empty.constant,
    test_share: Annotated[float, typer.Option(help="Share of the records held out to test, between 0 and 1.")] = 0.2,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the records held out and of the sampling.")] = 0,
    json_: Json = False,
    plot: Plot = None,
) -> None:
    """Value the owners of records by their Shapley values.

    Every column besides the label and the owners is a feature, and must hold numbers. Models are trained on the
    records of coalitions of owners and tested on records held out at random, whoever owns them.

    Examples
    --------
        dealer value records.csv --label diagnosis --owners hospital

        dealer value records.csv --label diagnosis --owners hospital --game logistic --plot values.pdf

        dealer value records.csv --label diagnosis --owners hospital --game knn --game-option k=3 --json
    """
    check_figure(plot)
    if not 0 < test_share < 1:
        raise InputError(f"--test-share: found {test_share}; allowed are numbers between 0 and 1")
    if not tolerance >= 0:
        raise InputError(f"--tolerance: found {tolerance}; allowed are numbers >= 0")
    find_own_classes(str(data))
    from analysis.inputs import read_records
    from analysis.owner_values import in_words, value_owners, value_table
    from analysis.tables import plain, text_table
    from simulator.valuation.estimator import VALUATION
    from simulator.valuation.games import GAMES, check_game_options

    options = parse_settings("--game-option", game_option or [], "ridge=10")
    for name, check in (
        ("--method", lambda: method == "auto" or VALUATION.create(method, {})),
        ("--game", lambda: GAMES.resolve(game)),
        ("--game-option", lambda: check_game_options(game, options)),
    ):
        try:
            check()
        except ValueError as error:
            raise InputError(f"{name}: {error}") from None
    records = read_records(data, label, owners)
    try:
        valued = value_owners(
            *records,
            method=method,
            budget=budget,
            tolerance=tolerance,
            game=game,
            game_options=options,
            empty_utility=0.0 if empty is Empty.zero else None,
            test_share=test_share,
            seed=seed,
        )
    except ValueError as error:
        raise InputError(f"{str(data)!r} cannot be valued: {error}") from None
    if plot is not None:
        from analysis import plots

        save_figure(plots.owner_values(valued), plot)
    if json_:
        typer.echo(json.dumps(plain(valued)))
    else:
        typer.echo(text_table(value_table(valued)) + "\n\n" + in_words(valued))
