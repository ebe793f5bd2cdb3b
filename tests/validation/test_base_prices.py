"""What base prices do to procurement: by Shapley value they leave quality out of the ranking, by records not."""

import numpy as np
import pytest

from simulator import Market
from simulator.agents.owner import compensation
from simulator.procurement.method import by_value_per_cost

EPSILON = 2.0


def first_purchase(make_config, watch, data="iris", **owners):
    """A market after a round with one version, its shards' values, and what was bought and asked for."""
    broker = {"epsilons": [EPSILON], "manufacturing_budget": 50.0, "pricing": "uniform"}
    market = Market(make_config(data=data, rounds=1, owners={"count": 12, **owners}, broker=broker), seed=4)
    values, purchases = (watch(market, "broker", phase) for phase in ("value", "procure"))
    market.step()
    return market, values[0].values, purchases[0]


def test_shapley_base_prices_rank_owners_by_sensitivity_alone(make_config, watch):
    market, values, purchases = first_purchase(make_config, watch, base_price="shapley")
    worthwhile = np.flatnonzero(values > 0)
    sensitivity = market.owners.columns["privacy_sensitivity"][worthwhile]
    assert len(worthwhile) > 5
    assert len(np.unique(values[worthwhile])) > 5  # quality differs, and is left out all the same
    ranking = by_value_per_cost(values[worthwhile], purchases.asked[0][worthwhile])
    assert ranking.tolist() == np.argsort(sensitivity).tolist()


def test_base_prices_by_records_let_quality_count(make_config, watch):
    market, values, purchases = first_purchase(make_config, watch, base_price="records", base_price_pool=60.0)
    worthwhile = np.flatnonzero(values > 0)
    # Shards are dealt evenly: 12 owners of 120 training records ask 5 each at epsilon 0.
    sensitivity = market.owners.columns["privacy_sensitivity"]
    np.testing.assert_allclose(purchases.asked[0], 5.0 * np.exp(EPSILON * sensitivity), rtol=1e-14)
    ranking = by_value_per_cost(values[worthwhile], purchases.asked[0][worthwhile])
    assert ranking.tolist() != np.argsort(sensitivity[worthwhile]).tolist()
    assert ranking.tolist() == np.argsort(-values[worthwhile] * np.exp(-EPSILON * sensitivity[worthwhile])).tolist()


def test_with_one_sensitivity_base_prices_by_records_rank_owners_by_value(make_config, watch):
    _, values, purchases = first_purchase(make_config, watch, base_price="records", privacy_sensitivity=0.3)
    ranking = by_value_per_cost(values, purchases.asked[0])
    assert ranking.tolist() == np.argsort(-values, kind="stable").tolist()


@pytest.mark.parametrize("data", ["values", "iris"])
@pytest.mark.parametrize("base_price", [{"dist": "lognorm", "s": 0.5, "scale": 3.0}, [0.5 * i for i in range(12)], 2.0])
def test_base_prices_of_their_own_are_asked_and_borne(make_config, watch, data, base_price):
    """Asked and true costs rest on the same amounts, whatever pool and value; a worthless shard is not bought."""
    market, values, purchases = first_purchase(make_config, watch, data, base_price=base_price)
    own, sensitivity = (market.owners.columns[name] for name in ("fixed_base_price", "privacy_sensitivity"))
    if isinstance(base_price, list):
        assert own.tolist() == base_price
    assert len(np.unique(own)) == (1 if base_price == 2.0 else 12)
    assert (own >= 0).all()
    asked = compensation(own, sensitivity, np.array([EPSILON]))
    np.testing.assert_array_equal(purchases.asked, np.where(values > 0, asked, np.inf))
    bought = purchases.bought[0]
    assert bought.any()
    assert not bought[values <= 0].any()
    owners = market.frame("owners")
    np.testing.assert_array_equal(owners["cost"], np.where(bought, asked[0], 0.0))
    np.testing.assert_array_equal(owners["asked"], owners["cost"])


def test_segments_may_price_differently(make_config):
    segments = [
        {"segment": "a", "count": 2, "base_price": "shapley"},
        {"segment": "b", "count": 3, "base_price": "records", "base_price_pool": 10.0},
        {"segment": "c", "count": 1, "base_price": 7.0},
    ]
    market = Market(make_config(data="iris", owners=segments), seed=1)
    values = np.array([1.0, -1.0, 5.0, 0.0, 2.0, 2.0])
    # Value shares are 0.1 and 0; 120 training records are dealt evenly to six owners.
    assert market.owners.base_prices(values) == pytest.approx([2.0, 0.0, 10 / 6, 10 / 6, 10 / 6, 7.0], rel=1e-14)
