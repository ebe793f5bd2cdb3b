"""Owners who report another sensitivity than their own: what is asked, what it earns, and at both speeds."""

import numpy as np
import pytest
from pydantic import ValidationError

from simulator import Market
from simulator.agents import Column, owner_behaviours
from simulator.agents.owner import Truthful
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


# --- best response ---------------------------------------------------------------------------------------


def sellers(make_config, segments, budget, revenue, rounds=6, **broker):
    """Owners of equal value, one version at eps = 1, whose revenue and budget are the same in every round.

    Each segment is what its owners ask at the truth, and how they behave.
    """
    owners = [
        {
            "segment": f"s{k}",
            "count": len(asked),
            "value": 1.0,
            "base_price": 1.0,
            "privacy_sensitivity": np.log(asked).tolist(),
            **behaviour,
        }
        for k, (asked, behaviour) in enumerate(segments)
    ]
    buyers = {"count": 1, "budget": 4.0 * revenue, "coverage_sensitivity": 0.0, "noise_sensitivity": 0.0}
    broker = {"epsilons": [1.0], "pricing": "uniform", "manufacturing_budget": budget, **broker}
    return Market(make_config(rounds=rounds, owners=owners, broker=broker, buyers=buyers))


STRATEGIC = {"behaviour": "best_response"}


def history(market, column):
    """A column of the owners' table, a row a round."""
    return market.frame("owners")[column].to_numpy().reshape(market.round, -1)


@pytest.mark.parametrize("first", [0, 1])
def test_a_best_response_to_truthful_owners_is_reached_and_kept(make_config, first):
    """It may ask 10 less what the other asks; once it does it has nothing more to gain, and earns what it expected."""
    segments = [([2.0], STRATEGIC), ([3.0], {})]
    market = sellers(make_config, segments[first:] + segments[:first], 10.0, 20.0)
    market.run()
    asked, surplus = (
        np.roll(column, first, axis=1)
        for column in (np.exp(history(market, "reported_sensitivity")), history(market, "surplus"))
    )
    assert asked[0].tolist() == pytest.approx([2.0, 3.0])
    assert asked[1:, 0] == pytest.approx(7.0, rel=2e-3)
    assert asked[:, 1] == pytest.approx(3.0)
    assert surplus[0, 0] == pytest.approx(20 * 2 / 5 - 2)
    assert surplus[1:, 0] == pytest.approx(20 * 7 / 10 - 2, rel=2e-3)


def test_two_sellers_for_one_purchase_end_where_the_dearer_gives_in(make_config):
    """Money for one of two that are paid what they ask: the cheaper asks just what the dearer cannot go below.

    Bertrand competition with unequal costs: the price is the higher cost, and the cheaper sells.
    """
    market = sellers(make_config, [([2.0, 3.0], STRATEGIC)], 4.0, 20.0, rounds=8, settlement="guaranteed")
    market.run()
    asked = np.exp(history(market, "reported_sensitivity"))
    assert history(market, "versions")[-4:].tolist() == [[1, 0]] * 4
    assert asked[-4:, 0] == pytest.approx(3.0, rel=2e-3)
    assert asked[-4:, 1] == pytest.approx(3.0, rel=1e-12)


def test_who_does_not_think_again_keeps_its_report(make_config):
    stubborn = STRATEGIC | {"behaviour_options": {"revision": 0.0}}
    market = sellers(make_config, [([2.0], stubborn), ([3.0], {})], 10.0, 20.0)
    market.run()
    assert (history(market, "reported_sensitivity") == market.owners.columns["privacy_sensitivity"]).all()
    # At a chance of one in two, some of 20 think after the first round, and others do not.
    options = {"behaviour": "best_response", "behaviour_options": {"revision": 0.5}}
    market = Market(make_config(owners={"count": 20, **options}, broker={"manufacturing_budget": 40.0}))
    market.step()
    thought = ~np.isnan(market.owners.columns["report"])
    assert thought.tolist() == (market.owners.segments[0].uniforms("revision") < 0.5).tolist()
    assert 3 < thought.sum() < 17


def test_who_did_not_take_part_does_not_think(make_config):
    owners = STRATEGIC | {"participation": 0.5, "count": 10}
    market = Market(make_config(owners=owners, broker={"manufacturing_budget": 40.0}))
    market.step()
    willing = market.owners.columns["willing"]
    assert 0 < willing.sum() < 10
    assert (~np.isnan(market.owners.columns["report"])).tolist() == willing.tolist()


def test_the_outlook_is_good_for_a_users_own_owner(make_config):
    """One hook, one agent at a time: it moves to where a tenth more would have paid, if it would."""
    market = sellers(make_config, [([2.0], {"behaviour": f"{__name__}:Climber"}), ([3.0], {})], 10.0, 20.0, rounds=30)
    market.run()
    asked = np.exp(history(market, "reported_sensitivity")[:, 0])
    assert (np.diff(asked) >= 0).all()
    assert 7.0 / 2.0**0.1 <= asked[-1] <= 7.0
    check_behaviour(Climber)


class Climber(Truthful):
    """Raises its report by a tenth of the truth as long as that would have paid."""

    name = "climber"
    step = Column(default=0.0)

    def offer(self):
        return self.willing, self.privacy_sensitivity * (1 + self.step)

    def reconsider(self, outlook):
        now = self.offer()[1]
        more = now + 0.1 * self.privacy_sensitivity
        if outlook.took_part(self.row) and outlook.surplus(self.row, more) > outlook.surplus(self.row, now):
            self.step += 0.1


# --- learning --------------------------------------------------------------------------------------------


def learners(make_config, rounds=40, seed=1, count=12, **options):
    owners = {"count": count, "participation": 0.8, "behaviour": "learning", "behaviour_options": options}
    market = Market(make_config(rounds=rounds, owners=owners, broker={"manufacturing_budget": 30.0}), seed)
    market.run()
    return market


def factors_taken(market):
    return history(market, "reported_sensitivity") / market.owners.columns["privacy_sensitivity"]


def test_every_factor_is_tried_once_in_an_order_of_ones_own(make_config):
    market = learners(make_config, rounds=7)
    taken = factors_taken(market)[:, market.owners.columns["willing"]]
    assert np.sort(taken, axis=0) == pytest.approx(np.repeat([np.linspace(0.5, 2.0, 7)], taken.shape[1], axis=0).T)
    assert len({tuple(order) for order in taken.T.tolist()}) > 5


def test_what_is_learnt_is_the_mean_surplus_of_each_factor(make_config):
    market = learners(make_config, exploration=0.2, lowest=0.0, highest=3.0)
    taken, surplus = (2 * factors_taken(market)).round().astype(int), history(market, "surplus")
    columns = market.owners.columns
    for owner in range(12):
        if not columns["willing"][owner]:
            assert columns["trials"][owner].tolist() == [0.0] * 7
            continue
        for k in range(7):
            earned = surplus[taken[:, owner] == k, owner]
            assert columns["trials"][owner, k] == len(earned)
            assert columns["mean_surplus"][owner, k] == pytest.approx(earned.mean(), rel=1e-9, abs=1e-9)


def test_a_learner_finds_what_pays_best_where_nothing_else_changes(make_config):
    """Of 0.5 to 2 times ln 2 it may ask up to 3 of a budget of 6: the factor 1.5 is the last that sells."""
    market = sellers(make_config, [([2.0], {"behaviour": "learning"}), ([3.0], {})], 6.0, 20.0, rounds=120)
    market.run()
    taken = factors_taken(market)[:, 0]
    assert market.owners[0].mean_surplus.argmax() == 4
    late = taken[20:]
    # It explores in a tenth of 100 rounds, of which a seventh lands on the best: four standard deviations.
    assert abs((np.abs(late - 1.5) > 1e-9).mean() - 0.1 * 6 / 7) < 4 * 0.3 / 10
    greedy = sellers(
        make_config,
        [([2.0], {"behaviour": "learning", "behaviour_options": {"exploration": 0.0}}), ([3.0], {})],
        6.0,
        20.0,
        rounds=30,
    )
    greedy.run()
    assert factors_taken(greedy)[7:, 0] == pytest.approx(1.5)


@pytest.mark.parametrize("vectorised", [True, False])
def test_the_best_factor_is_taken_but_for_the_share_that_explores(make_config, vectorised):
    """Of 1,000 owners who have tried all, a tenth takes any of seven, within four standard deviations; else the best.

    Two factors have earned the same: the smaller is the best one.
    """
    owners = {"count": 1000, "privacy_sensitivity": 1.0, "behaviour": "learning"}
    market = Market(make_config(owners=owners, buyers={"count": 1}))
    market.owners.vectorised = vectorised
    market.owners.columns["trials"][:] = 1.0
    market.owners.columns["mean_surplus"][:, [2, 4]] = 1.0
    taken = np.bincount(((market.owners.offer().sensitivities - 0.5) * 4).round().astype(int), minlength=7)
    assert taken.sum() - taken[2] == pytest.approx(1000 * 0.1 * 6 / 7, abs=4 * np.sqrt(1000 * 0.0857 * 0.9143))
    others = np.delete(taken, 2)
    assert np.abs(others - 1000 * 0.1 / 7).max() < 4 * np.sqrt(1000 * 0.0143 * 0.9857)


def test_nothing_is_learnt_of_rounds_without_taking_part(make_config):
    """After two uses at eps 1 its privacy is spent: it has tried two factors, and adds no zeros to their means."""
    learner = {"behaviour": "learning", "privacy_budget": 2.0}
    market = sellers(make_config, [([2.0], learner), ([3.0], {})], 100.0, 20.0, rounds=6)
    market.run()
    assert history(market, "takes_part")[:, 0].tolist() == [True, True, False, False, False, False]
    assert market.owners[0].trials.sum() == 2
    assert market.owners[0].mean_surplus.sum() == pytest.approx(history(market, "surplus")[:2, 0].sum())


# --- both speeds -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("inflate", {"factor": {"dist": "lognorm", "s": 0.5}}),
        ("inflate", {"factor": 0.0}),
        ("best_response", {"revision": {"dist": "uniform"}}),
        ("learning", {"exploration": {"dist": "uniform"}, "highest": {"dist": "uniform", "loc": 1, "scale": 3}}),
        ("learning", {"exploration": 1.0}),
    ],
)
def test_both_speeds_of_strategic_owners_agree(name, options):
    check_behaviour(owner_behaviours()[name], options=options, seed=7, rounds=20 if name == "learning" else 4)
