"""The tables of docs/statistics.md: how often 95% intervals hold the truth.

Run with `python tests/benchmarks/coverage.py`; it takes some minutes.
"""

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.regression.linear_model import OLS

from analysis.intervals import estimate, t_half_width
from analysis.ranking import bootstrap_ranks
from analysis.regression import Model, fit_runs
from analysis.tables import markdown_table

SAMPLES, STUDIES = 4000, 2000
LOG = 0.8  # deviation of the logarithms of skewed values


def replicates(kind, rng, n):
    """Values of a replicate that its design points share; their true mean is 1."""
    return rng.normal(1, 0.5, n) if kind == "normal" else rng.lognormal(-(LOG**2) / 2, LOG, n)


def of_means(kind, n, seed):
    """Coverage for a mean, and for the difference of two values that share a replicate's randomness.

    The second value is a tenth more, with noise of its own that grows with the replicate's size.
    """
    rng = np.random.default_rng([seed, n])
    held = []
    for _ in range(SAMPLES):
        one = replicates(kind, rng, n)
        other = 1.1 * one + 0.2 * np.abs(one) * rng.normal(size=n)
        row = []
        for sample, true in ((one, 1.0), (other - one, 0.1)):
            _, low, high, boot_low, boot_high = estimate(sample, rng)
            row += [low <= true <= high, boot_low <= true <= boot_high]
        apart = stats.ttest_ind(other, one, equal_var=False).confidence_interval(0.95)
        row += [abs(one.mean() - 1) <= stats.norm.ppf(0.975) * stats.sem(one), apart.low <= 0.1 <= apart.high]
        width = (apart.high - apart.low) / 2 / t_half_width(other - one)
        held.append([*row, width])
    return np.mean(held, axis=0)


def means_table():
    rows = []
    for kind in ("normal", "lognormal"):
        for n in (8, 20, 50):
            t, bca, paired_t, paired_bca, z, apart, width = of_means(kind, n, 1)
            shown = [f"{100 * share:.1f}%" for share in (t, bca, z, paired_t, paired_bca, apart)]
            rows.append([f"{kind}, n = {n}", *shown, f"{width:.1f}"])
    names = [
        "mean, t",
        "mean, BCa",
        "mean, normal quantile",
        "difference, t",
        "difference, BCa",
        "difference, unpaired",
    ]
    return pd.DataFrame(rows, columns=["replicates", *names, "width unpaired / paired"])


def ranks_table():
    """Intervals of ranks of values that differ by steps of noise, and of the two that do not differ."""
    rows = []
    for n in (8, 20, 50):
        rng = np.random.default_rng([2, n])
        for name, means in (("distinct", [0.0, -0.3, -0.6, -1.2]), ("two are equal", [0.0, 0.0, -0.6, -1.2])):
            held, width, best = [], [], []
            for _ in range(STUDIES // 4):
                samples = np.array(means) + rng.normal(0, 3, (n, 1)) + rng.normal(0, 0.7, (n, 4))
                low, high, share = bootstrap_ranks(samples, rng)
                true = stats.rankdata(-np.array(means), method="min")
                worst = stats.rankdata(-np.array(means), method="max")
                held.append(((low <= true) & (worst <= high)).mean())
                width.append((high - low).mean())
                best.append(share[0])
            rows.append(
                [f"{name}, n = {n}", f"{100 * np.mean(held):.1f}%", f"{np.mean(width):.2f}", f"{np.mean(best):.2f}"]
            )
    return pd.DataFrame(rows, columns=["values", "coverage", "ranks in it, less one", "P(best) of the first"])


def regression_table():
    """Intervals of a slope where replicates differ in height and in slope, some runs missing or none."""
    rows = []
    x = np.array([0.0, 0.1, 0.3, 0.6, 1.0])
    for missing in (0.0, 0.2):
        for n in (3, 8, 20):
            rng = np.random.default_rng([3, n, int(10 * missing)])
            held = []
            for _ in range(STUDIES):
                runs = pd.DataFrame({"replicate": np.repeat(np.arange(n), 5), "point": 0, "x": np.tile(x, n)})
                height, slope = rng.normal(50, 20, n), rng.normal(-2, 1, n)
                runs["y"] = height[runs["replicate"]] + slope[runs["replicate"]] * runs["x"] + rng.normal(0, 0.3, 5 * n)
                runs = runs[rng.random(5 * n) >= missing]
                runs = runs[runs.groupby("replicate")["x"].transform("size") > 1]
                if runs["replicate"].nunique() < 2:
                    continue
                row = fit_runs(runs, "y", Model(("y",), ("x",), {}))[0].iloc[0]
                dummies = pd.get_dummies(runs["replicate"], dtype=float).to_numpy()
                naive = OLS(runs["y"].to_numpy(), np.column_stack([runs["x"], dummies])).fit().conf_int()[0]
                z = row["estimate"] + np.array([-1, 1]) * stats.norm.ppf(0.975) * row["se"]
                held.append([low <= -2 <= high for low, high in ([row["low"], row["high"]], z, naive)])
            name = f"{n} replicates" + (f", {missing:.0%} of runs missing" if missing else "")
            rows.append([name, *(f"{100 * share:.1f}%" for share in np.mean(held, axis=0))])
    return pd.DataFrame(
        rows, columns=["study", "clustered, t(G - 1)", "clustered, normal quantile", "errors as if independent"]
    )


if __name__ == "__main__":
    for table in (means_table, ranks_table, regression_table):
        print(markdown_table(table()), end="\n\n")
