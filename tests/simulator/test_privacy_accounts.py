"""What releases cost owners: composition, groups, budgets."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.integrate import trapezoid

from simulator import Market
from simulator.privacy import PrivacyAccounts, epsilon_spent, group_privacy, plan_training
from simulator.privacy.gaussian import gaussian_delta, gaussian_epsilon, gaussian_mu

PROPERTY = settings(derandomize=True, deadline=None, database=None, max_examples=60)
DELTA = 1e-5
UNLIMITED = np.array([np.inf])


def normal_delta(epsilon, mu):
    """E[(1 - exp(eps - L))+] for a privacy loss L normal with mean mu^2/2 and deviation mu, integrated."""
    z = np.linspace(-12.0, 14.0, 200_001)
    return trapezoid(-np.expm1(np.minimum(epsilon - mu**2 / 2 - mu * z, 0.0)) * stats.norm.pdf(z), z)


def accounts(epsilons=(0.5, 1.0, 2.0), budgets=UNLIMITED, units=None, composition="basic", delta=DELTA):
    return PrivacyAccounts(list(epsilons), delta, np.asarray(budgets, dtype=float), units, composition)


@pytest.mark.parametrize("delta", [1e-9, 1e-5, 1e-2])
@pytest.mark.parametrize("mu", [0.01, 0.3, 1.0, 6.0, 40.0])
def test_epsilon_of_a_gaussian_mechanism(mu, delta):
    epsilon = gaussian_epsilon(mu, delta)
    if epsilon == 0:
        assert normal_delta(0.0, mu) <= delta * (1 + 1e-6)
        return
    # The trapezoidal rule errs by the step squared at the integrand's corner.
    assert normal_delta(epsilon, mu) == pytest.approx(delta, rel=1e-4)
    assert gaussian_mu(epsilon, delta) == pytest.approx(mu, rel=1e-9)
    assert gaussian_delta(epsilon, 1 / mu) <= delta  # never on the wrong side


def test_gaussian_releases_compose_exactly_and_others_add_up():
    books = accounts()
    use = np.ones((3, 1), dtype=bool)
    for _ in range(4):
        books.book(use & [[True], [False], [True]], np.array([True, True, True]))
    for _ in range(2):
        books.book(use & [[False], [True], [False]], np.array([True, False, True]))
    assert books.epsilon.tolist() == [4 * 2.5 + 2 * 1.0]
    assert books.delta_spent == pytest.approx([10 * DELTA], rel=1e-12)
    (epsilon,), (delta,) = books.composed()
    mu = math.sqrt(4 * gaussian_mu(0.5, DELTA) ** 2 + 4 * gaussian_mu(2.0, DELTA) ** 2)
    assert normal_delta(epsilon - 2.0, mu) == pytest.approx(DELTA, rel=1e-4)
    assert delta == pytest.approx(3 * DELTA, rel=1e-12)
    # The point of it: far less than the sum.
    assert epsilon < 0.7 * books.epsilon[0]


def test_one_release_costs_its_own_epsilon():
    for version, gaussian in itertools.product(range(3), (True, False)):
        books = accounts(units=np.array([1]))
        books.book(np.eye(3, dtype=bool)[:, [version]], np.full(3, gaussian))
        for epsilon, delta in (books.composed(), books.shard(), (books.epsilon, books.delta_spent)):
            assert epsilon == pytest.approx([(0.5, 1.0, 2.0)[version]], rel=1e-9)
            assert delta.tolist() == [DELTA]


def test_nothing_used_costs_nothing():
    books = accounts(units=np.array([5]))
    books.book(np.zeros((3, 1), dtype=bool), np.array([True, False, True]))
    for epsilon, delta in (books.composed(), books.shard(), (books.epsilon, books.delta_spent)):
        assert (epsilon.tolist(), delta.tolist()) == ([0.0], [0.0])


@PROPERTY
@given(st.integers(1, 4), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_owners_are_accounted_for_one_by_one(versions, owners, seed):
    """Owners of the same uses share a computation, which each of them alone confirms."""
    rng = np.random.default_rng(seed)
    epsilons = np.cumsum(rng.uniform(0.1, 1.0, versions))
    units = rng.integers(1, 4, owners)
    together = accounts(epsilons, np.full(owners, np.inf), units)
    alone = [accounts(epsilons, units=units[[i]]) for i in range(owners)]
    for _ in range(3):
        used, gaussian = rng.random((versions, owners)) < 0.5, rng.random(versions) < 0.5
        together.book(used, gaussian)
        for i, books in enumerate(alone):
            books.book(used[:, [i]], gaussian)
    for name in ("composed", "shard"):
        found, expected = getattr(together, name)(), [getattr(books, name)() for books in alone]
        for part in (0, 1):
            assert found[part].tolist() == [pair[part][0] for pair in expected]
    assert together.epsilon == pytest.approx([books.epsilon[0] for books in alone], rel=1e-12)


# --- groups ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 5, 20])
@pytest.mark.parametrize("epsilon", [0.1, 1.0, 3.0])
def test_a_group_by_its_definition(epsilon, size):
    delta = min(sum(1e-12 * math.exp(h * epsilon) for h in range(size)), 1.0)
    assert group_privacy(epsilon, 1e-12, size) == pytest.approx((size * epsilon, delta), rel=1e-12)


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("epsilon", [0.2, 1.0])
def test_a_group_moves_a_gaussian_mechanism_no_further_than_it_says(epsilon, size):
    """A sum with Gaussian noise, moved by `size` records: its exact delta, which `for_group` attains."""
    mu = gaussian_mu(epsilon, DELTA)
    group_epsilon, group_delta = group_privacy(epsilon, DELTA, size)
    assert normal_delta(group_epsilon, size * mu) <= group_delta
    account = plan_training(epsilon, DELTA, 2, 100, 4, method="output").guarantee
    exact_epsilon, exact_delta = account.for_group(size)
    assert exact_delta == DELTA
    assert normal_delta(exact_epsilon, size * mu) == pytest.approx(DELTA, rel=1e-4)
    assert plan_training(epsilon, DELTA, 2, 100, 4, method="objective").guarantee.for_group(size) == (
        group_epsilon,
        group_delta,
    )


def test_a_large_group_is_guaranteed_nothing():
    assert group_privacy(8.0, DELTA, 1000) == (8000.0, 1.0)
    for epsilon in (690.0, 1000.0, 1e6):
        assert group_privacy(epsilon, DELTA, 1) == (epsilon, DELTA)
        assert group_privacy(epsilon, DELTA, 2) == (2 * epsilon, 1.0)
    books = accounts(units=np.array([40]))
    books.book(np.ones((3, 1), dtype=bool), np.zeros(3, dtype=bool))
    assert [part.tolist() for part in books.shard()] == [[math.inf], [1.0]]
    # A Gaussian mechanism still is one.
    books = accounts(units=np.array([40]))
    books.book(np.ones((3, 1), dtype=bool), np.ones(3, dtype=bool))
    (epsilon,), (delta,) = books.shard()
    mu = 40 * math.sqrt(sum(gaussian_mu(e, DELTA) ** 2 for e in (0.5, 1.0, 2.0)))
    assert epsilon == pytest.approx(gaussian_epsilon(mu, DELTA), rel=1e-12)
    assert delta == DELTA


def test_of_unknown_shards_nothing_is_said():
    books = accounts()
    books.book(np.ones((3, 1), dtype=bool), np.ones(3, dtype=bool))
    assert all(np.isnan(part).all() for part in books.shard())


@pytest.mark.parametrize("size", [0, -1, 1.5, True, "2", None])
def test_what_is_no_group(size):
    with pytest.raises(ValueError, match="size must be a whole number of units"):
        group_privacy(1.0, DELTA, size)
    with pytest.raises(ValueError, match="size must be a whole number of units"):
        plan_training(1.0, DELTA, 2, 100, 4, method="gradient").guarantee.for_group(size)


# --- budgets ---------------------------------------------------------------------------------------------


@PROPERTY
@given(st.sampled_from(["basic", "gaussian"]), st.integers(0, 2**32 - 1))
def test_no_budget_is_exceeded_and_none_is_refused_that_fits(composition, seed):
    rng = np.random.default_rng(seed)
    epsilons = np.cumsum(rng.uniform(0.1, 1.0, 3))
    budgets = rng.uniform(0.05, 8.0, 6)
    books = accounts(epsilons, budgets, composition=composition)

    def cost(uses):
        if composition == "basic":
            return epsilon_spent(uses, epsilons)
        mu = np.sqrt(np.array([gaussian_mu(e, DELTA) ** 2 for e in epsilons.tolist()]) @ uses)
        return np.array([gaussian_epsilon(m, DELTA) if m > 0 else 0.0 for m in mu.tolist()])

    for _ in range(30):
        used = np.zeros((3, 6), dtype=bool)
        for version in range(3):
            allowed = books.affordable(version, used)
            more = (books.gaussian + books.other + used)[:, :] + np.eye(3, dtype=int)[:, [version]]
            assert np.array_equal(allowed, cost(more) <= budgets * (1 + 1e-9))
            used[version] = allowed & (rng.random(6) < 0.5)
        books.book(used, np.full(3, composition == "gaussian"))
        assert (cost(books.gaussian + books.other) <= budgets * (1 + 1e-9)).all()
    assert np.array_equal(books.spent, ~books.affordable(0))


def test_a_budget_that_fits_to_the_last_use():
    """Three times 0.1 is more than 0.3 in floats."""
    books = accounts([0.1, 5.0], [0.3])
    for _ in range(3):
        assert books.affordable(0).tolist() == [True]
        books.book(np.array([[True], [False]]), np.array([False, False]))
    assert books.spent.tolist() == [True]
    assert 2 * 0.1 + 0.1 > 0.3


@pytest.mark.parametrize("method", ["objective", "output", "gradient"])
@pytest.mark.parametrize("source", ["iris", "values"])
def test_the_market_tells_gaussian_releases_from_others(make_config, source, method):
    broker = {"training": {"method": method}, "manufacturing_budget": 1e6}
    market = Market(make_config(data=source, rounds=3, broker=broker))
    market.run()
    table = market.frame("owners").query("epsilon_total > 2.0")
    assert len(table) > 0
    if method == "objective":
        assert table["epsilon_composed"].to_numpy() == pytest.approx(table["epsilon_total"].to_numpy(), rel=1e-12)
        assert table["delta_composed"].to_numpy() == pytest.approx(table["delta_total"].to_numpy(), rel=1e-12)
    else:
        assert (table["epsilon_composed"] < 0.95 * table["epsilon_total"]).all()
        assert (table["delta_composed"] == DELTA).all()


@pytest.mark.parametrize("composition", ["basic", "gaussian"])
def test_owners_whose_budget_is_spent_leave_the_market(make_config, composition):
    training = {"method": "gradient", "unit": "owner"}
    owners = {"count": 6, "privacy_budget": [0.4, 1.0, 4.0, 7.0, 12.0, 1000.0], "privacy_sensitivity": 0.0}
    broker = {"privacy_accounting": composition, "training": training, "manufacturing_budget": 1e6}
    market = Market(make_config(data="iris", rounds=8, owners=owners, broker=broker))
    market.run()
    table, rounds = market.frame("owners"), market.frame("rounds")
    spent = "epsilon_total" if composition == "basic" else "epsilon_composed"
    assert (table[spent] <= table["privacy_budget"] * (1 + 1e-9)).all()
    last = table[table["round"] == 8].set_index("owner")
    assert last["takes_part"].tolist()[0] is False
    assert last["takes_part"].tolist()[-1] is True
    assert last["epsilon_total"].iloc[-1] == pytest.approx(8 * 3.5)
    assert not last["takes_part"].iloc[:3].any()
    # Who has left comes back no more, and costs nothing more.
    for _, own in table.groupby("owner"):
        gone = ~own["takes_part"].to_numpy()
        assert np.array_equal(gone, np.maximum.accumulate(gone))
        assert (own["epsilon"].to_numpy()[gone] == 0).all()
        assert own["epsilon"].cumsum().to_numpy() == pytest.approx(own["epsilon_total"].to_numpy())
    # Whoever cannot afford the smallest epsilon after a round does not take part in the next.
    assert rounds["owners_spent"].tolist()[:-1] == (6 - rounds["owners_taking_part"]).tolist()[1:]
    assert rounds["owners_taking_part"].iloc[0] == 5
    assert rounds["epsilon_composed_max"].to_numpy() == pytest.approx(
        table.groupby("round")["epsilon_composed"].max().to_numpy()
    )
    # Exact composition lets them sell more.
    assert composition == "basic" or last["epsilon_total"].iloc[4] > 12.0


def test_what_is_left_of_a_budget_goes_to_the_first_versions(make_config):
    owners = {"count": 2, "privacy_budget": 1.7, "privacy_sensitivity": 0.0, "value": 1.0}
    market = Market(make_config(owners=owners, broker={"manufacturing_budget": 1e6}))
    bought = []
    for _ in range(2):
        market.step()
        bought.append(market.broker.last_purchases.bought[:, 0].tolist())
    assert bought == [[True, True, False], [False, False, False]]
    assert market.frame("rounds")["owners_spent"].tolist() == [2, 2]


def test_without_budgets_the_market_is_the_same(make_config):
    plain, ample = (Market(make_config(data="iris", rounds=3, owners=own)) for own in ({}, {"privacy_budget": 1e6}))
    plain.run()
    ample.run()
    for table in ("rounds", "versions", "sales"):
        assert plain.frame(table).equals(ample.frame(table))


def test_the_shard_of_an_owner_of_many_records(make_config):
    """Per record, a shard has the privacy of a group; per owner, its own."""
    tables = {}
    for unit in ("record", "owner"):
        training = {"method": "gradient", "unit": unit}
        market = Market(make_config(data="iris", rounds=2, broker={"training": training, "manufacturing_budget": 1e6}))
        market.run()
        tables[unit] = market.frame("owners")
    owner, record = tables["owner"], tables["record"]
    assert owner["epsilon_shard"].tolist() == owner["epsilon_composed"].tolist()
    sold = record["epsilon_total"] > 0
    assert sold.any()
    assert (record["epsilon_shard"] > record["epsilon_composed"])[sold].all()
    # 120 training records among six owners: mu is 20 times that of a record.
    for mine in record[sold].itertuples():
        mu = gaussian_mu(mine.epsilon_composed, DELTA)
        assert mine.epsilon_shard == pytest.approx(gaussian_epsilon(20 * mu, DELTA), rel=1e-6)


@pytest.mark.parametrize(
    ("owners", "broker", "said"),
    [
        ({"privacy_budget": 0.4}, {}, r"owners\.owners\.privacy_budget: found at most 0\.4.*smallest epsilon, 0\.5"),
        ({"privacy_budget": {"dist": "uniform", "scale": 0.3}}, {}, "privacy_budget: found at most 0.3"),
        ({"privacy_budget": -1.0}, {}, "privacy_budget"),
        ({"privacy_budget": [1.0, 2.0]}, {}, "privacy_budget: found a list of 2; allowed is one of count = 6"),
        (
            {},
            {"privacy_accounting": "gaussian", "training": {"method": "objective"}},
            r"broker\.privacy_accounting: found 'gaussian' with the training method 'objective'",
        ),
        ({}, {"privacy_accounting": "renyi"}, "privacy_accounting"),
        ({}, {"training": {"unit": "shard"}}, "unit"),
    ],
)
def test_contradictions_are_refused_by_name(make_config, owners, broker, said):
    with pytest.raises(ValueError, match=said):
        make_config(owners=owners, broker=broker)


def test_a_budget_of_the_smallest_epsilon_is_good_for_one_release(make_config):
    owners = {"count": 3, "value": 1.0, "privacy_budget": 0.5}
    market = Market(make_config(owners=owners, broker={"manufacturing_budget": 1e6}))
    market.run()
    assert market.frame("owners")["versions"].tolist() == [1, 1, 1, 0, 0, 0]
    assert market.frame("rounds")["owners_taking_part"].tolist() == [3, 0]


@pytest.mark.parametrize("source", ["iris", "values"])
def test_minima_perturbation_is_not_for_owners(make_config, source):
    with pytest.raises(ValueError, match=r"broker\.epsilons: found 0\.5; method 'amp' is for records as units"):
        make_config(data=source, broker={"training": {"method": "amp", "unit": "owner"}})


def test_the_shard_of_an_owner_taken_to_hold_records(make_config):
    """Where there are none, the surrogate's number counts, and a group's privacy with it."""
    training = {"method": "surrogate", "curve": "breast_cancer", "records_per_owner": 20}
    market = Market(make_config(broker={"training": training, "manufacturing_budget": 1e6}))
    market.step()
    table = market.frame("owners").query("epsilon_total > 0")
    for mine in table.itertuples():
        mu = gaussian_mu(mine.epsilon_composed, DELTA)
        assert mine.epsilon_shard == pytest.approx(gaussian_epsilon(20 * mu, DELTA), rel=1e-6)
    assert len(table) > 0
