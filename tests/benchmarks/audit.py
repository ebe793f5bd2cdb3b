"""Audits of the private classifiers with their own noise and with less: the table of docs/privacy.md.

Run `python tests/benchmarks/audit.py [METHOD ...]` from the project's folder; it takes ten minutes. A cell is the
certified lower bound on epsilon of one audit of 1,000 fits a side at 95% confidence, bold where it refutes the claim.
With `--shard R` the unit is the owner, and the canary a shard of R records.
"""

import argparse
import itertools
import time
from dataclasses import replace
from unittest import mock

import numpy as np

from simulator.privacy import PrivateLogisticRegression, PrivateSVM, audit, plan_training

METHODS = ("objective", "amp", "output", "gradient")
EPSILONS = (0.5, 1.0, 4.0)
FACTORS = (1.0, 0.8, 0.5, 0.25)


def noise_times(factor):
    """`plan_training`, with the noise of its plans scaled."""

    def plan(*args, **options):
        made = plan_training(*args, **options)
        scales = {name: factor * scale for name, scale in vars(made.noise).items() if name.endswith("_noise")}
        return replace(made, noise=replace(made.noise, **scales))

    return mock.patch("simulator.privacy.training.plan_training", plan)


def cell(model, factor, shard, **options):
    """Lower bound on epsilon, bold if the claim is refuted."""
    with noise_times(factor):
        found = audit(model(**options), shard=shard, rng=np.random.default_rng(0))
    return f"**{found.epsilon_lower:.2f}**" if found.violated else f"{found.epsilon_lower:.2f}"


def main(methods, shard):
    columns = [f"eps {epsilon:g}, x {factor:g}" for epsilon in EPSILONS for factor in FACTORS]
    print("| method | neighbours | model | " + " | ".join(columns) + " | seconds |")
    print("|---|---|---|" + "---|" * (len(columns) + 1), flush=True)
    for method, neighbours, model in itertools.product(
        methods, ("replace-one", "add-remove"), (PrivateLogisticRegression, PrivateSVM)
    ):
        start = time.process_time()
        cells = [
            cell(model, factor, shard, epsilon=epsilon, method=method, neighbours=neighbours)
            for epsilon in EPSILONS
            for factor in FACTORS
        ]
        seconds = f"{(time.process_time() - start) / len(cells):.1f}"
        row = [method, neighbours, model.__name__.removeprefix("Private"), *cells, seconds]
        print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("methods", nargs="*", default=METHODS)
    parser.add_argument("--shard", type=int)
    arguments = parser.parse_args()
    main(arguments.methods, arguments.shard)
