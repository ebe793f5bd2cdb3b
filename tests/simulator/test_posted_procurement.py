"""One price for all: the truthful auction against its definition and every misreport, posted prices, and promises."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from simulator import Market
from simulator.checks import check_procurement_method
from simulator.procurement import ProcurementMethod, maximize_coverage

PROPERTY = settings(derandomize=True, deadline=None, database=None, max_examples=100)

#: Amounts with many ties, free shards, and some that differ in the last place alone.
COST = st.one_of(
    st.sampled_from([0.0, 0.1, 0.2, 0.3, 1.0, 1.0 + 2.0**-52, 2.0, 3.0]),
    st.floats(0.0, 10.0, allow_subnormal=False),
)
COSTS = st.lists(COST, min_size=1, max_size=7)
BUDGET = st.one_of(st.sampled_from([0.0, 0.3, 0.6, 1.0, 3.0, 6.0]), st.floats(0.0, 30.0, allow_subnormal=False))
WORTH = st.lists(st.sampled_from([0.5, 1.0, 2.0]), min_size=7, max_size=7)


def buy(costs, budget, method="fair_query", values=None, **options):
    values = np.ones(len(costs)) if values is None else values[: len(costs)]
    return maximize_coverage(values, costs, budget, method=method, **options)


# --- the auction -----------------------------------------------------------------------------------------


def by_definition(costs, budget):
    """FairQuery as stated: the largest k of whom the dearest asks at most B / k; price min(B / k, the next cost)."""
    ordered = sorted(costs)
    winners = [k for k in range(1, len(costs) + 1) if ordered[k - 1] <= budget / k]
    if not winners:
        return 0, math.nan
    k = max(winners)
    return k, min(budget / k, ordered[k] if k < len(costs) else math.inf)


@pytest.mark.parametrize(
    ("costs", "budget", "owners", "price"),
    [
        ([1.0, 2.0, 3.0, 4.0], 7.0, [0, 1], 3.0),  # 7 / 2 = 3.5 is more than the third asks
        ([1.0, 2.0, 3.0, 4.0], 9.0, [0, 1, 2], 3.0),  # 9 / 3 is what the third asks
        ([4.0, 1.0, 3.0, 2.0], 8.0, [1, 3], 3.0),
        ([1.0, 1.0, 1.0], 2.0, [0, 1], 1.0),  # a tie: the earlier ones, at what they ask
        ([1.0, 1.0, 1.0], 30.0, [0, 1, 2], 10.0),  # all, at equal parts of the budget
        ([5.0], 4.0, [], None),
        ([0.0, 0.0, 3.0], 0.0, [0, 1], 0.0),
        ([0.0, 0.0, 3.0], 2.0, [0, 1], 1.0),
    ],
)
def test_the_auction_by_hand(costs, budget, owners, price):
    bought = buy(costs, budget)
    assert bought.owners.tolist() == owners
    assert bought.promised.tolist() == [price] * len(owners)


@pytest.mark.parametrize("method", ["fair_query", "fixed_price"])
def test_equal_parts_of_a_budget_are_rounded_down(method):
    """3 * (3.1 / 3) is more than 3.1 in floats: an ulp less for each, so that all are paid within the budget."""
    for budget in (3.1, 3.9, 6.2, 6.3):
        assert 3 * (budget / 3) > budget
        bought = buy([0.0, 0.5, 1.0], budget, method)
        assert bought.owners.tolist() == [0, 1, 2]
        assert bought.promised.tolist() == [math.nextafter(budget / 3, 0.0)] * 3
        assert math.fsum(bought.promised) <= budget


@PROPERTY
@given(COSTS, BUDGET, WORTH)
def test_the_auction_is_what_it_is_defined_to_be(costs, budget, values):
    """Whatever shards are worth; prices as they should be up to the rounding that keeps them within the budget."""
    bought = buy(costs, budget, values=values)
    count, price = by_definition(costs, budget)
    part = budget / max(len(bought.owners), 1)
    if len(bought.owners) != count:  # the budget's part, rounded down, is an ulp below what the dearest asks
        assert sorted(costs)[count - 1] == pytest.approx(budget / count, rel=1e-15)
    elif count:
        assert bought.promised == pytest.approx(np.full(count, price), rel=3e-16, abs=0)
        assert len(set(bought.promised.tolist())) == 1
    assert math.fsum(bought.promised) <= budget
    assert (bought.promised <= part).all()
    assert (bought.promised >= np.array(costs)[bought.owners]).all()
    # Nobody left out would sell for the price that all are paid.
    left = np.delete(np.array(costs), bought.owners)
    assert count == 0 or len(bought.owners) < count or (left >= bought.promised[0]).all()


@PROPERTY
@given(COSTS, BUDGET)
def test_no_single_price_buys_more_owners(costs, budget):
    """Among prices that all who would sell at them can be paid, the auction serves as many as the best."""
    served = [sum(c <= p for c in costs) for p in [*costs, budget / len(costs)]]
    prices = [*costs, budget / len(costs)]
    affordable = [n for n, p in zip(served, prices, strict=True) if n * p <= budget * (1 - 1e-12)]
    assert len(buy(costs, budget).owners) >= max(affordable, default=0)


def utility(method, costs, budget, owner, report, values, **options):
    """What an owner gains at a report, at its true cost, exactly as floats have it."""
    reported = [*costs]
    reported[owner] = report
    bought = buy(reported, budget, method, values, **options)
    where = np.flatnonzero(bought.owners == owner)
    return float(bought.promised[where[0]]) - costs[owner] if len(where) else 0.0


@settings(PROPERTY, max_examples=40)
@given(COSTS, BUDGET, WORTH, st.data())
@pytest.mark.parametrize(
    ("method", "options"), [("fair_query", {}), ("fixed_price", {}), ("fixed_price", {"price": 1.0})]
)
def test_no_misreport_gains_anything(method, options, costs, budget, values, data):
    """Exactly, ties included: at what others ask, an ulp beside, at parts of the budget, at nothing and anything."""
    owner = data.draw(st.integers(0, len(costs) - 1))
    honest = utility(method, costs, budget, owner, costs[owner], values, **options)
    assert honest >= 0
    interesting = [*costs, *(budget / k for k in range(1, len(costs) + 2)), 1.0]
    beside = [float(np.nextafter(x, d)) for x in interesting for d in (-np.inf, np.inf)]
    for report in [0.0, 1e6, data.draw(st.floats(0.0, 20.0)), *interesting, *(max(b, 0.0) for b in beside)]:
        assert utility(method, costs, budget, owner, report, values, **options) <= honest, report


# --- a posted price --------------------------------------------------------------------------------------


def test_those_who_accept_are_bought_the_most_valuable_first():
    values, costs = [1.0, 5.0, 3.0, 2.0, 9.0], [1.0, 2.0, 2.0, 0.5, 2.1]
    assert buy(costs, 100.0, "fixed_price", values, price=2.0).owners.tolist() == [0, 1, 2, 3]
    bought = buy(costs, 5.0, "fixed_price", values, price=2.0)
    assert bought.owners.tolist() == [1, 2]
    assert bought.promised.tolist() == [2.0, 2.0]
    assert buy(costs, 1.9, "fixed_price", values, price=2.0).owners.tolist() == []
    assert buy([0.0, 1.0], 0.0, "fixed_price", price=0.0).owners.tolist() == [0]
    # Of equal values the earlier ones.
    assert buy([1.0] * 4, 2.0, "fixed_price", [1.0, 2.0, 1.0, 1.0], price=1.0).owners.tolist() == [0, 1]
    # Ten times 0.1 fits a budget of 1, and one more does not.
    assert len(buy([0.1] * 11, 1.0, "fixed_price", price=0.1).owners) == 10


def test_by_default_the_budget_is_shared_by_all_on_offer():
    """Those who ask more than the whole budget are none of them."""
    bought = buy([1.0, 2.0, 4.0, 99.0], 9.0, "fixed_price")
    assert bought.owners.tolist() == [0, 1]
    assert bought.promised.tolist() == [3.0, 3.0]


@PROPERTY
@given(COSTS, BUDGET, WORTH, st.one_of(st.none(), st.floats(0.0, 5.0, allow_subnormal=False)))
def test_posted_prices_keep_to_the_budget_and_leave_out_nobody_they_can_pay(costs, budget, values, price):
    options = {} if price is None else {"price": price}
    bought = buy(costs, budget, "fixed_price", values, **options)
    posted = budget / max(sum(c <= budget for c in costs), 1) if price is None else price
    assert bought.promised == pytest.approx(np.full(len(bought.owners), posted), rel=3e-16, abs=0)
    assert math.fsum(bought.promised) <= budget
    accept = [i for i, c in enumerate(costs) if c <= min(posted * (1 - 1e-15), budget)]
    if posted > 0:
        assert len(bought.owners) >= min(len(accept), math.floor(budget / posted * (1 - 1e-15)))
    left = [values[i] for i in accept if i not in bought.owners]
    assert max(left, default=0.0) <= min((values[i] for i in bought.owners), default=math.inf)


# --- in a market -----------------------------------------------------------------------------------------

PAYING = {"procurement": "fair_query", "settlement": "promised"}


@pytest.mark.parametrize(
    ("broker", "message"),
    [
        (
            {"procurement": "fair_query"},
            "broker.settlement: found 'neutral' with the procurement method 'fair_query', which promises payments; "
            "allowed with it is 'promised'",
        ),
        (
            {"settlement": "promised"},
            "broker.settlement: found 'promised' with the procurement method 'greedy', which promises none; allowed "
            "with it are 'guaranteed', 'neutral', 'uniform'",
        ),
        (
            PAYING | {"procurement": "fixed_price", "procurement_options": {"price": [1.0, 2.0]}},
            "broker.procurement: found a list of 2 for the option 'price' of 'fixed_price'; allowed is one for each of "
            "the 3 epsilons",
        ),
        (
            PAYING | {"procurement": "fixed_price", "procurement_options": {"price": [1.0, 2.0, -3.0]}},
            "refuses its options: price must be a number >= 0, found -3.0",
        ),
        (
            {"procurement": "ppdp", "procurement_options": {"grid": [1, 2, 3]}},
            "grid",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(make_config, broker, message):
    with pytest.raises(ValidationError) as caught:
        make_config(broker=broker)
    assert message in str(caught.value)


def test_a_price_for_each_version(make_config, watch):
    options = {"fixed_price": {"price": [1.0, 2.0, 4.0]}, "price": 9.0}
    broker = PAYING | {"procurement": "fixed_price", "procurement_options": options, "manufacturing_budget": 100.0}
    market = Market(make_config(owners={"base_price": 1.0, "value": 1.0}, broker=broker))
    purchases = watch(market, "broker", "procure")
    market.step()
    bought, promised = purchases[0].bought, purchases[0].promised
    assert bought.tolist() == (purchases[0].asked <= np.array([[1.0], [2.0], [4.0]])).tolist()
    assert promised.tolist() == np.where(bought, [[1.0], [2.0], [4.0]], 0.0).tolist()
    assert bought[1:].any()


def test_the_broker_bears_what_promises_cost_beyond_the_revenue(make_config):
    """A budget of 40 a version, whatever is sold: owners are paid as promised, and no money is made or lost."""
    losses = []
    for budget in (5.0, 40.0):
        market = Market(make_config(rounds=3, broker=PAYING | {"manufacturing_budget": budget}))
        market.run()
        rounds, owners = market.frame("rounds"), market.frame("owners")
        assert (rounds["payouts"] + rounds["broker_profit"]).to_numpy() == pytest.approx(rounds["revenue"].to_numpy())
        assert (rounds["payouts"] <= 3 * budget).all()
        assert (rounds["ir_violations"] == 0).all()
        assert (owners["surplus"] >= 0).all()
        assert market.ledger.owners.sum() == pytest.approx(rounds["payouts"].sum())
        losses.append(rounds["broker_profit"].min())
    assert losses[0] > 0 > losses[1]


MARKET = {
    "count": st.integers(1, 5),
    "method": st.sampled_from([("fair_query", {}), ("fixed_price", {}), ("fixed_price", {"price": [1.0, 2.0, 5.0]})]),
    "budget": st.sampled_from([0.0, 3.0, 12.0, 40.0]),
    "sensitivities": st.lists(st.sampled_from([0.0, 0.25, 0.25, 0.5, 1.0]), min_size=5, max_size=5),
    "base": st.lists(st.sampled_from([0.0, 1.0, 1.0, 2.0]), min_size=5, max_size=5),
    "inflate": st.booleans(),
}


@settings(derandomize=True, deadline=None, database=None, max_examples=20)
@given(**MARKET)
def test_no_owner_of_a_market_gains_by_a_misreport(make_config, count, method, budget, sensitivities, base, inflate):
    """The measure of misreports is zero, exactly, in every round, ties and other owners' lies included."""
    owners = {"count": count, "value": 1.0, "privacy_sensitivity": sensitivities[:count], "base_price": base[:count]}
    if inflate:
        owners |= {"behaviour": "inflate", "behaviour_options": {"factor": [1.0, 2.0, 0.5, 1.5, 1.0][:count]}}
    broker = {"procurement": method[0], "procurement_options": method[1], "settlement": "promised"}
    config = make_config(owners=owners, broker=broker | {"manufacturing_budget": budget}, buyers={"count": 4})
    config = config.model_copy(update={"incentives": config.incentives.model_copy(update={"owners": count})})
    market = Market(config)
    market.run()
    assert (market.frame("owners")["misreport_gain"] == 0.0).all()
    assert (market.frame("rounds")["misreport_gainers"] == 0.0).all()


def test_where_privacy_runs_out_a_misreport_may_gain(make_config):
    """What is truthful for one version is not for two that use up one privacy budget: it pays to miss the cheaper."""
    owners = {"count": 2, "value": 1.0, "base_price": 1.0, "privacy_sensitivity": 0.1, "privacy_budget": 2.0}
    broker = {"epsilons": [1.0, 2.0], "pricing": "uniform", "manufacturing_budget": [4.0, 40.0], **PAYING}
    config = make_config(rounds=1, owners=owners, broker=broker)
    market = Market(config.model_copy(update={"incentives": config.incentives.model_copy(update={"owners": 2})}))
    market.step()
    assert market.frame("rounds")["misreport_gain_max"][0] > 0


# --- promises that break the rules -----------------------------------------------------------------------


class Miser(ProcurementMethod):
    """Promises less than was asked."""

    name = "miser"
    promises = True
    paid = 0.5

    def choose(self, values, costs, budget, rng):
        return np.arange(len(costs))[:1], math.inf

    def promise(self, costs, budget, chosen):
        return self.paid * costs[chosen]


class Braggart(Miser):
    """Promises more than it has."""

    name = "braggart"
    paid = 1e9


class Vague(Miser):
    """Promises something to somebody."""

    name = "vague"

    def promise(self, costs, budget, chosen):
        return np.ones(7)


class Careless(Miser):
    """Says nothing of what it promises."""

    name = "careless"
    promise = ProcurementMethod.promise


@pytest.mark.parametrize(
    ("cls", "error", "message"),
    [
        (Miser, RuntimeError, "promised an owner less than it asks"),
        (Braggart, RuntimeError, "promised 1000000000.0 of a budget of 2.0"),
        (Vague, ValueError, r"made promises of shape \(7,\); allowed is one for each of the 1 chosen"),
        (Careless, TypeError, "Careless has no method 'promise'"),
    ],
)
def test_promises_are_checked(cls, error, message):
    with pytest.raises(error, match=message):
        buy([1.0, 1.0], 2.0, f"{__name__}:{cls.__name__}")
    with pytest.raises(AssertionError if error is not TypeError else TypeError):
        check_procurement_method(cls)


@pytest.mark.parametrize("broker", [PAYING, {"procurement": "random"}])
def test_purchases_taken_over_are_taken_over_with_their_promises(make_config, watch, broker):
    market = Market(make_config(owners={"count": 9}, broker=broker | {"manufacturing_budget": 25.0}))
    valued, bought = watch(market, "broker", "value"), watch(market, "broker", "procure")
    market.step()
    first = bought[0]
    for kept in ([True, False, True], [False] * 3, [True] * 3):
        again = market.broker.buy(valued[0], first.asked, first.budgets, known=first, kept=np.array(kept))
        assert again.bought.tolist() == first.bought.tolist()
        assert (again.promised is None) == (first.promised is None) == (broker is not PAYING)
        if first.promised is not None:
            assert again.promised.tolist() == first.promised.tolist()
        assert again.coverage.tolist() == first.coverage.tolist()
    other = market.broker.buy(
        valued[0], 2 * first.asked, first.budgets, known=first, kept=np.array([True, False, False])
    )
    assert other.bought[0].tolist() == first.bought[0].tolist()
    assert other.bought[1:].tolist() != first.bought[1:].tolist()
