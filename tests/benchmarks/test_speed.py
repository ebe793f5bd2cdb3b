"""Speed against a peer or the physical limit in the same run: ratios count, not seconds.

Run with `make bench`. Nothing here asserts a time.
"""

import time

import numpy as np
import pytest
from scipy.optimize import Bounds, LinearConstraint, milp
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.linear_model import LogisticRegression, RidgeClassifier

from scenarios.experiment import load
from scenarios.runner import run_one
from simulator import MarketConfig
from simulator.privacy import PrivateLogisticRegression, PrivateSVM
from simulator.privacy.losses import Logistic
from simulator.privacy.objective import objective_noise
from simulator.procurement import maximize_coverage
from simulator.valuation import GramRidgeGame, valuation_games

X, Y = load_breast_cancer(return_X_y=True)
X = (X - X.mean(axis=0)) / X.std(axis=0)


def offers(n):
    """Offers by owners of all sorts of sensitivities, and a budget for two fifths of what they ask."""
    rng = np.random.default_rng(n)
    values = rng.gamma(2.0, 1.0, n)
    costs = values * np.exp(2.0 * rng.uniform(0.1, 0.5, n))
    return values, costs, 0.4 * costs.sum()


@pytest.mark.parametrize("n", [1000, 10_000])
@pytest.mark.benchmark(group="exact procurement, certified to 1e-12, against HiGHS with its gap of 1e-6")
def test_exact_procurement(benchmark, n):
    benchmark(maximize_coverage, *offers(n), method="exact")


@pytest.mark.parametrize("n", [1000, 10_000])
@pytest.mark.benchmark(group="exact procurement, certified to 1e-12, against HiGHS with its gap of 1e-6")
def test_milp_procurement(benchmark, n):
    values, costs, budget = offers(n)
    money = LinearConstraint(costs[None, :] / budget, ub=1.0)
    benchmark.pedantic(
        lambda: milp(-values, constraints=money, bounds=Bounds(0, 1), integrality=1, options={"mip_rel_gap": 1e-6}),
        rounds=3,
    )


@pytest.mark.benchmark(group="greedy procurement among 100,000 owners against one sort of their values")
def test_greedy_procurement(benchmark):
    benchmark(maximize_coverage, *offers(100_000), method="greedy")


@pytest.mark.benchmark(group="greedy procurement among 100,000 owners against one sort of their values")
def test_sort_of_values(benchmark):
    benchmark(np.argsort, offers(100_000)[0])


@pytest.mark.benchmark(group="utility of 256 coalitions of 100 owners against refitting scikit-learn's ridge")
def test_gram_utility(benchmark):
    game = GramRidgeGame(X[:455], Y[:455], np.arange(455) % 100, 100, X[455:], Y[455:], n_classes=2)
    masks = np.random.default_rng(0).random((256, 100)) < 0.5
    benchmark(game.utility, masks)


@pytest.mark.benchmark(group="utility of 256 coalitions of 100 owners against refitting scikit-learn's ridge")
def test_refitted_utility(benchmark):
    masks = np.random.default_rng(0).random((256, 100)) < 0.5

    def refit():
        for mask in masks:
            used = mask[np.arange(455) % 100]
            RidgeClassifier().fit(X[:455][used], Y[:455][used]).score(X[455:], Y[455:])

    benchmark.pedantic(refit, rounds=3)


GAMES = "utility of 64 coalitions of 100 owners by game, one of them refitting scikit-learn's logistic regression"
COALITIONS = np.random.default_rng(0).random((64, 100)) < 0.5


@pytest.mark.benchmark(group=GAMES)
@pytest.mark.parametrize("name", sorted(valuation_games()))
def test_game(benchmark, name):
    game = valuation_games()[name](X[:455], Y[:455], np.arange(455) % 100, 100, X[455:], Y[455:], n_classes=2)
    benchmark.pedantic(game.utility, (COALITIONS,), rounds=3)


@pytest.fixture(params=[load_breast_cancer, load_digits], ids=["breast cancer", "digits"])
def scaled(request):
    features, labels = request.param(return_X_y=True)
    deviation = features.std(axis=0)
    return (features - features.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0), labels


@pytest.mark.benchmark(group="private training against scikit-learn's logistic regression", timer=time.process_time)
@pytest.mark.filterwarnings("ignore::simulator.privacy.PrivacyWarning")
@pytest.mark.parametrize("model", [PrivateLogisticRegression, PrivateSVM])
@pytest.mark.parametrize("method", ["auto", "objective", "amp", "output", "gradient"])
def test_private_training(benchmark, scaled, method, model):
    benchmark(lambda: model(1.0, method=method, random_state=0).fit(*scaled))


@pytest.mark.benchmark(group="private training against scikit-learn's logistic regression", timer=time.process_time)
def test_plain_training(benchmark, scaled):
    benchmark(lambda: LogisticRegression().fit(*scaled))


@pytest.mark.benchmark(group="noise of objective perturbation, not cached", timer=time.process_time)
@pytest.mark.parametrize("tight", [False, True])
def test_calibration(benchmark, tight):
    uncached = objective_noise.__wrapped__
    benchmark(lambda: uncached(1.0, 1e-5, Logistic(), "replace-one", tight=tight))


@pytest.mark.benchmark(group="one run of the demo's market")
def test_demo_run(benchmark):
    market = MarketConfig.model_validate(load("demo").market_scenario())
    benchmark(run_one, market, 2021, 0, ("rounds", "versions"))
