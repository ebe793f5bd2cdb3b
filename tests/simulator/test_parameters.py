"""Parameters of behaviours, set in scenarios, and random numbers of an agent's own."""

import numpy as np
import pytest
from pydantic import ValidationError

from simulator import Market, MarketConfig
from simulator.agents.owner import Truthful
from simulator.agents.population import Parameter
from simulator.checks import check_behaviour

HERE = __name__


class Rounder(Truthful):
    """Overstates by a factor, more or less."""

    name = "rounder"
    factor = Parameter(2.0, low=0.0, high=10.0)

    def offer(self):
        return self.willing, self.factor * self.privacy_sensitivity * self.uniform("mood")

    @classmethod
    def offer_all(cls, rows):
        return rows.willing, rows.factor * rows.privacy_sensitivity * rows.uniforms("mood")


class Same(Rounder):
    """The same with another default."""

    name = "same"
    factor = Parameter(3.0)


def market(*segments, replicate=0):
    owners = [
        {"segment": f"s{k}", "count": 4, "value": 1.0, "privacy_sensitivity": 1.0} | segment
        for k, segment in enumerate(segments)
    ]
    buyers = [{"segment": "b", "count": 2, "budget": 1.0, "epsilon_expected": 1.0}]
    raw = {"data": {"source": "values"}, "owners": owners, "buyers": buyers, "broker": {"epsilons": [1.0]}}
    return Market(MarketConfig.model_validate(raw), seed=3, replicate=replicate)


def test_each_segment_has_its_own_values_and_others_the_default():
    made = market(
        {"behaviour": f"{HERE}:Rounder", "behaviour_options": {"factor": 4.0}},
        {"behaviour": f"{HERE}:Rounder"},
        {"behaviour": f"{HERE}:Same"},
        {"behaviour": f"{HERE}:Rounder", "behaviour_options": {"factor": {"dist": "uniform", "loc": 5, "scale": 1}}},
        {"behaviour": f"{HERE}:Rounder", "behaviour_options": {"factor": [1.0, 2.0, 3.0, 4.0]}},
        {},
    )
    factor = made.owners.columns["factor"]
    assert factor[:12].tolist() == [4.0] * 4 + [2.0] * 4 + [3.0] * 4
    drawn = factor[12:16]
    assert ((drawn >= 5) & (drawn <= 6)).all()
    assert len(set(drawn)) == 4
    assert factor[16:].tolist() == [1.0, 2.0, 3.0, 4.0, 0.0, 0.0, 0.0, 0.0]
    assert made.owners[13].factor == drawn[1]


@pytest.mark.parametrize(
    ("segment", "message"),
    [
        (
            {"behaviour_options": {"factor": 2}},
            "'truthful' has no option 'factor'; it takes no options",
        ),
        ({"behaviour": f"{HERE}:Rounder", "behaviour_options": {"facto": 2}}, "no option 'facto'; it takes factor"),
        ({"behaviour": f"{HERE}:Rounder", "behaviour_options": {"factor": 11}}, "factor: found 11; allowed are values"),
        (
            {"behaviour": f"{HERE}:Rounder", "behaviour_options": {"factor": {"dist": "norm", "loc": 5}}},
            "factor: found values from -inf to inf; allowed are values from 0 to 10",
        ),
        (
            {"behaviour": f"{HERE}:Rounder", "behaviour_options": {"factor": "much"}},
            "found 'much'; allowed are",
        ),
        ({"behaviour": f"{HERE}:Rounder", "behaviour_options": {"factor": [1.0]}}, "found a list of 1"),
        ({"behaviour": "honest"}, "unknown owner behaviour 'honest'"),
    ],
)
def test_options_that_a_behaviour_does_not_take(segment, message):
    with pytest.raises(ValidationError) as caught:
        market(segment)
    assert message in str(caught.value)


@pytest.mark.parametrize("options", [None, {"factor": 0.5}, {"factor": {"dist": "uniform", "loc": 1, "scale": 3}}])
def test_both_speeds_draw_the_same_numbers(options):
    check_behaviour(Rounder, options=options)


def test_numbers_are_new_each_round_and_of_the_replicate_and_segment():
    one = market({"behaviour": f"{HERE}:Rounder"}, {"behaviour": f"{HERE}:Rounder"})
    seen = []
    for _ in range(3):
        one.step()
        first, second = one.owners.segments
        assert first.uniforms("mood") is first.uniforms("mood")
        assert one.owners[2].uniform("mood") == first.uniforms("mood")[2]
        seen += [first.uniforms("mood"), second.uniforms("mood"), first.uniforms("other")]
    other = market({"behaviour": f"{HERE}:Rounder"}, {"behaviour": f"{HERE}:Rounder"}, replicate=1)
    other.step()
    seen.append(other.owners.segments[0].uniforms("mood"))
    assert len(np.unique(seen)) == np.size(seen)
    again = market({"behaviour": f"{HERE}:Rounder"}, {"behaviour": f"{HERE}:Rounder"})
    again.step()
    np.testing.assert_array_equal(again.owners.segments[0].uniforms("mood"), seen[0])
