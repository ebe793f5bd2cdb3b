"""The same numbers on every Python and library version, within a stated tolerance.

`reference.csv` holds the rounds of a small market on real data. Run this file as a script to write it anew,
after a change that is meant to move numbers.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from scenarios.runner import run_one
from simulator import MarketConfig
from simulator.log import ROUND_METRICS

REFERENCE = Path(__file__).with_name("reference.csv")
# Libraries may round differently in the last bits, which sums and exponentials of moderate arguments carry on to
# about 1e-12. A record that changes its class would move a Shapley value by far more and be seen.
TOLERANCE = 1e-9


def rounds() -> pd.DataFrame:
    scenario = {
        "rounds": 3,
        "data": {"source": "breast_cancer"},
        "owners": [
            {
                "segment": "owners",
                "count": 20,
                "privacy_sensitivity": {"dist": "gamma", "a": 2, "scale": 0.1},
                "base_price_pool": 400,
                "behaviour": "cautious",
            }
        ],
        "broker": {"epsilons": [0.5, 1, 2, 5], "commission": 0.1, "valuation": {"budget": 3000}},
        "buyers": [
            {
                "segment": "choosers",
                "count": 40,
                "budget": {"dist": "lognorm", "s": 0.5, "scale": 100},
                "epsilon_expected": {"dist": "uniform", "scale": 4},
                "behaviour": "surplus",
            },
            {
                "segment": "targeters",
                "count": 40,
                "budget": {"dist": "beta", "a": 2, "b": 5, "scale": 300},
                "epsilon_expected": {"dist": "uniform", "scale": 4},
            },
        ],
    }
    frames = []
    for pricing, procurement in (("dpp_plus", "exact"), ("linear", "greedy"), ("perfect", "random")):
        scenario["broker"] |= {"pricing": pricing, "procurement": procurement}
        frame = run_one(MarketConfig.model_validate(scenario), 2021, 1, ["rounds"])["rounds"]
        frames.append(frame.assign(pricing=pricing).set_index(["pricing", "round"])[list(ROUND_METRICS)])
    return pd.concat(frames)


def test_the_reference_market_gives_the_reference_numbers():
    expected = pd.read_csv(REFERENCE, index_col=["pricing", "round"])
    found = rounds()
    assert found.index.equals(expected.index)
    assert list(found.columns) == list(expected.columns)
    for column in expected:
        np.testing.assert_allclose(found[column], expected[column], rtol=TOLERANCE, atol=1e-9, err_msg=column)


if __name__ == "__main__":
    rounds().to_csv(REFERENCE, float_format="%.17g")
    sys.stdout.write(f"wrote {REFERENCE}\n")
