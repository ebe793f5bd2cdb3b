"""Shards bought outside the market, from offers in a file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from analysis.tables import amount
from simulator.procurement import Purchase

#: More rows than this are not read, but searched: that is what --json is for.
MOST_ROWS = 50


def coverage(value: float, values: np.ndarray) -> float:
    """Share of all positive value that a purchase is worth; 0 where no value is positive."""
    total = np.maximum(values, 0.0).sum()
    return value / total if total > 0 else 0.0


def named(bought: Purchase, owners: pd.Series) -> Purchase:
    """A purchase with the owners' names in place of their positions; names that are whole numbers as such."""
    numbers = pd.to_numeric(owners, errors="coerce", downcast="integer")
    whole = pd.api.types.is_integer_dtype(numbers) and (numbers.astype(str) == owners).all()
    return replace(bought, owners=(numbers if whole else owners).to_numpy()[bought.owners])


def offer_table(bought: Purchase, offers: pd.DataFrame) -> pd.DataFrame:
    """The owners bought for the terminal, most value per cost first.

    Parameters
    ----------
    bought : Purchase
        The purchase.
    offers : DataFrame
        All offers, with the columns owner, value and cost.
    """
    rows = offers.iloc[bought.owners]
    with np.errstate(divide="ignore"):
        ratio = rows["value"].to_numpy() / rows["cost"].to_numpy()
    order = np.argsort(-ratio, kind="stable")
    rows, ratio = rows.iloc[order], ratio[order]
    shown = {"owner": rows["owner"].tolist()}
    shown |= {name: [amount(number) for number in rows[name]] for name in ("value", "cost")}
    shown["value per cost"] = ["free" if np.isinf(number) else amount(number) for number in ratio]
    if bought.promised is not None:
        shown["promised"] = [amount(number) for number in bought.promised[order]]
    table = pd.DataFrame(shown)
    if len(table) > MOST_ROWS:
        more = f"... and {len(table) - MOST_ROWS:,} more"
        table = pd.concat(
            [table[:MOST_ROWS], pd.DataFrame([[more] + [""] * (len(table.columns) - 1)], columns=table.columns)]
        )
    return table


def summary(bought: Purchase, values: np.ndarray, budget: float, method: str) -> str:
    """What a purchase is worth and costs, and how far it is from what no affordable set exceeds, in sentences."""
    owners = f"{len(bought.owners):,} of {len(values):,} owner{'s' if len(values) > 1 else ''}"
    lines = [
        f"Bought by {method}: {owners}, worth {amount(bought.value)}, for {amount(bought.cost)} "
        f"of a budget of {amount(budget)}. Coverage: {coverage(bought.value, values):.1%}."
    ]
    if bought.promised is not None:
        lines.append(f"They are promised {amount(float(bought.promised.sum()))} in all, whatever each asked.")
    if bought.cost > budget:
        lines.append(f"{method} is a reference and overspends, by {amount(bought.cost - budget)}.")
    elif bought.bound == bought.value:
        lines.append("No affordable set is worth more.")
    else:
        gap = (bought.bound - bought.value) / bought.bound
        lines.append(f"No affordable set is worth more than {amount(bought.bound)}; certified gap: {gap:.2g} of that.")
    return "\n".join(lines)
