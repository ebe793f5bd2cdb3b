"""Owners who report another sensitivity than their own: what is asked, what it earns, and at both speeds."""

import numpy as np
import pytest
from pydantic import ValidationError

from simulator import Market
from simulator.agents import owner_behaviours
from simulator.checks import check_behaviour

# --- inflate ---------------------------------------------------------------------------------------------


def test_inflated_reports_are_the_truth_times_the_factor(make_config):
    """Two owners with b = 10 each at rho = 0.5: what is asked goes by the report, what it costs by the truth."""
    owners = {"count": 2, "value": 1.0, "privacy_sensitivity": 0.5, "behaviour": "inflate"}
    owners["behaviour_options"] = {"factor": [1.0, 3.0]}
    market = Market(make_config(owners=owners, broker={"epsilons": [2.0], "manufacturing_budget": 1e4}))
    market.step()
    table = market.frame("owners")
    assert table["reported_sensitivity"].tolist() == [0.5, 1.5]
    assert table["asked"].to_numpy() == pytest.approx([10 * np.e, 10 * np.e**3], rel=1e-14)
    assert table["cost"].to_numpy() == pytest.approx([10 * np.e] * 2, rel=1e-14)
    # Pro rata, the one who exaggerates takes e^3 / (e + e^3) of the revenue.
    shares = table["paid"] / table["paid"].sum()
    assert shares.to_numpy() == pytest.approx(np.array([1.0, np.e**2]) / (1 + np.e**2), rel=1e-12)


def test_a_factor_of_one_is_the_truth(make_config):
    markets = [
        Market(make_config(owners={"behaviour": name, "behaviour_options": options, "participation": 0.7}), seed=2)
        for name, options in (("truthful", {}), ("inflate", {"factor": 1.0}))
    ]
    for market in markets:
        market.run()
    assert markets[0].frame("owners").equals(markets[1].frame("owners"))


def test_the_default_factor_overstates(make_config):
    market = Market(make_config(owners={"behaviour": "inflate", "participation": 0.5, "count": 30}))
    offers = market.owners.offer()
    assert offers.sensitivities.tolist() == (1.5 * market.owners.columns["privacy_sensitivity"]).tolist()
    assert offers.takes_part.tolist() == market.owners.columns["willing"].tolist()


def test_a_factor_below_zero_is_refused(make_config):
    with pytest.raises(ValidationError, match=r"behaviour_options\.factor: found -1; allowed are values from 0 to inf"):
        make_config(owners={"behaviour": "inflate", "behaviour_options": {"factor": -1}})


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("name", "options"),
    [("inflate", {"factor": {"dist": "lognorm", "s": 0.5}}), ("inflate", {"factor": 0.0})],
)
def test_both_speeds_of_strategic_owners_agree(name, options, seed):
    check_behaviour(owner_behaviours()[name], options=options, seed=seed, rounds=6)
