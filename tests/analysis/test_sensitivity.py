"""Sensitivity indices against closed forms, through the whole of a study."""

import builtins

import numpy as np
import pandas as pd
import pytest

from analysis.sensitivity import elementary_effects, sensitivity, sensitivity_tables, sobol_indices
from scenarios.design import unit_samples
from scenarios.errors import InputError

THREE = {
    "broker.commission": {"dist": "uniform", "loc": 0.1, "scale": 0.8},
    "buyers.b.budget.s": {"dist": "uniform", "scale": 2},
    "owners.o.base_price_pool": {"dist": "uniform", "loc": 10, "scale": 90},
}
BUDGET = {"dist": "lognorm", "s": 0.5, "scale": 200}
BUYERS = [{"segment": "b", "count": 10, "budget": BUDGET, "epsilon_expected": 2}]
A, B = 7.0, 0.1


def unit(plan):
    """The ranges as probabilities, which is what the indices are functions of."""
    return np.column_stack([(plan[key] - own.get("loc", 0)) / own["scale"] for key, own in THREE.items()])


def ishigami(u):
    x = np.pi * (2 * u - 1)
    return np.sin(x[:, 0]) + A * np.sin(x[:, 1]) ** 2 + B * x[:, 2] ** 4 * np.sin(x[:, 0])


def ishigami_indices():
    """First-order and total indices, in closed form."""
    v1, v2 = (1 + B * np.pi**4 / 5) ** 2 / 2, A**2 / 8
    v13 = B**2 * np.pi**8 * (1 / 18 - 1 / 50)
    total = v1 + v2 + v13
    return np.array([v1, v2, 0]) / total, np.array([v1 + v13, v2, v13]) / total


def made(study, formula, sampling="saltelli", points=256, sweep=None, replicates=2, **more):
    design = {"sampling": sampling, "points": points}
    return study(
        {**(sweep or {}), **THREE}, {"revenue": formula}, design=design, replicates=replicates, buyers=BUYERS, **more
    )


def test_sobol_indices_of_the_ishigami_function(study):
    """Replicates shift the function in opposite directions, which averaging takes out and one alone would not."""

    def formula(plan):
        sign = 1 - 2 * (plan["replicate"] % 2)
        return ishigami(unit(plan)) + sign * 30 * unit(plan)[:, 2]

    results = made(study, formula, points=1024)
    found = sensitivity(results, ("revenue",))
    first, total = ishigami_indices()
    assert found["parameter"].tolist() == list(THREE)
    # Errors of some thousandths at 1024 base samples; 0.05 is what two half-widths are.
    np.testing.assert_allclose(found["S1"], first, atol=0.05)
    np.testing.assert_allclose(found["ST"], total, atol=0.05)
    for name, true in (("S1", first), ("ST", total)):
        assert ((found[f"{name}_low"] <= true) & (true <= found[f"{name}_high"])).all()
    assert found[["samples", "points", "replicates"]].iloc[0].tolist() == [1024, 5 * 1024, 2]


def test_sobol_indices_of_the_g_function(study):
    weights = np.array([0.0, 1.0, 9.0])

    def g(plan):
        return np.prod((np.abs(4 * unit(plan) - 2) + weights) / (1 + weights), axis=1)

    partial = 1 / (3 * (1 + weights) ** 2)
    variance = np.prod(1 + partial) - 1
    total = partial * np.prod(1 + partial) / (1 + partial) / variance
    found = sensitivity(made(study, g, points=1024, replicates=1), ("revenue",))
    np.testing.assert_allclose(found["S1"], partial / variance, atol=0.05)
    np.testing.assert_allclose(found["ST"], total, atol=0.05)


def test_intervals_hold_the_index_nearly_always():
    """60 scrambled designs of 64 base samples: 95% intervals of a linear function's indices, to binomial error."""
    from SALib.sample import sobol

    weights = np.array([1.0, 2.0, 3.0])
    true = weights**2 / (weights**2).sum()
    problem = {"num_vars": 3, "names": list("abc"), "bounds": [[0, 1]] * 3}
    held = []
    for seed in range(60):
        u = sobol.sample(problem, 64, calc_second_order=False, seed=seed)
        found = sobol_indices(u @ weights, list("abc"), np.random.default_rng(seed))
        held.append((found["S1_low"] <= true) & (true <= found["S1_high"]))
    # Scrambled Sobol points are better than the random ones that the bootstrap takes them for.
    assert np.mean(held) >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / 60)


def test_morris_effects_of_a_linear_function_are_its_slopes(study):
    slopes = np.array([-3.0, 1.0, 0.0])
    results = made(study, lambda plan: unit(plan) @ slopes + 5 * plan["replicate"], "morris", points=8)
    found = sensitivity(results, ("revenue",))
    np.testing.assert_allclose(found["mu"], slopes, atol=1e-9)
    np.testing.assert_allclose(found["mu_star"], np.abs(slopes), atol=1e-9)
    np.testing.assert_allclose(found["sigma"], 0, atol=1e-9)
    np.testing.assert_allclose(found["mu_star_high"], found["mu_star_low"], atol=1e-9)
    assert found[["samples", "points", "replicates"]].iloc[0].tolist() == [8, 32, 2]


def test_morris_effects_are_means_of_single_steps(study):
    """By hand along every trajectory: the change of the function over the change of the one parameter that moved."""
    results = made(study, lambda plan: ishigami(unit(plan)), "morris", points=6)
    found = sensitivity(results, ("revenue",))
    walk = unit_samples(results.experiment).reshape(6, 4, 3)
    values = ishigami(walk.reshape(-1, 3)).reshape(6, 4)
    effects = np.zeros((6, 3))
    for one, (path, own) in enumerate(zip(walk, values, strict=True)):
        for step in range(3):
            moved = path[step + 1] - path[step]
            (parameter,) = np.flatnonzero(moved)
            effects[one, parameter] = (own[step + 1] - own[step]) / moved[parameter]
    np.testing.assert_allclose(found["mu"], effects.mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(found["mu_star"], np.abs(effects).mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(found["sigma"], effects.std(axis=0, ddof=1), atol=1e-9)


def test_every_combination_of_lists_has_an_analysis_of_its_own(study):
    lists = {"broker.pricing": ["median", "low"], "rounds": [1, 2]}

    def formula(plan):
        slopes = np.where((plan["broker.pricing"] == "low").to_numpy()[:, None], [1.0, 0.0, 0.0], [0.0, 2.0, 0.0])
        return (unit(plan) * slopes).sum(axis=1) * plan["rounds"]

    found = sensitivity(made(study, formula, sweep=lists, points=64), ("revenue",))
    assert len(found) == 2 * 2 * 3
    mains = found[found["S1"] > 0.5]
    assert mains.groupby("broker.pricing")["parameter"].unique().map(list).to_dict() == {
        "low": ["broker.commission"], "median": ["buyers.b.budget.s"],
    }  # fmt: skip
    effects = sensitivity(made(study, formula, "morris", 4, sweep=lists, name="morris"), ("revenue",))
    largest = effects.groupby(["broker.pricing", "rounds"])["mu_star"].max()
    assert largest.to_dict() == pytest.approx({("low", 1): 1, ("low", 2): 2, ("median", 1): 2, ("median", 2): 4})
    cells = sensitivity_tables(made(study, formula, sweep=lists, points=4, name="few"), found)[0].cells
    assert list(cells) == ["broker.pricing", "rounds", "parameter", "S1", "ST"]


def test_the_same_intervals_at_each_analysis_and_no_global_random_state(study):
    results = made(study, lambda plan: ishigami(unit(plan)), points=32)
    before = np.random.get_state()[1].tolist()
    found = sensitivity(results, ("revenue",))
    assert np.random.get_state()[1].tolist() == before
    pd.testing.assert_frame_equal(found, sensitivity(results, ("revenue",)), check_exact=True)


def test_notes_tell_of_noise_and_of_wide_intervals(study):
    results = made(study, lambda plan: ishigami(unit(plan)), points=16)
    found = sensitivity(results, ("revenue",))
    notes = sensitivity_tables(results, found)[0].notes
    assert "N = 16 base samples, 80 design points, averaged over 2 replicates." in notes[0]
    noisy = (found[["S1", "ST"]] < 0).any(axis=None) or (found["S1"] > found["ST"]).any()
    assert noisy == any("are sampling noise" in note for note in notes)
    assert any(note.startswith("Warning: intervals are as wide as") for note in notes)
    quiet = found.assign(S1=0.3, S1_low=0.28, S1_high=0.32, ST=0.3, ST_low=0.28, ST_high=0.32)
    assert len(sensitivity_tables(results, quiet)[0].notes) == 3
    negative = sensitivity_tables(results, quiet.assign(S1=-0.01, S1_low=-0.03, S1_high=0.01))[0]
    assert negative.cells["S1"].tolist()[0] == "-0.010 [-0.030, 0.010]"
    assert negative.notes[3] == "Indices below 0, and S1 above ST, are sampling noise: no true ones are so."
    effects = made(study, lambda plan: ishigami(unit(plan)), "morris", points=4, name="morris")
    notes = sensitivity_tables(effects, sensitivity(effects, ("revenue",)))[0].notes
    assert "(money per round)" in notes[0]
    assert "of the largest effect; more trajectories" in notes[3]


def test_what_has_no_indices_is_refused(study, monkeypatch):
    def refused(results, metric="revenue"):
        with pytest.raises(InputError) as error:
            sensitivity(results, (metric,))
        return str(error.value)

    def linear(plan):
        return unit(plan).sum(axis=1)

    lists = study({"broker.pricing": ["median", "low"]}, {"revenue": lambda plan: plan["run"]}, name="lists")
    assert refused(lists).startswith("sweep: found no range")
    assert refused(made(study, linear, "sobol", 4, name="sobol")).startswith("design.sampling: found 'sobol'; allowed")
    hole = made(study, linear, points=4, missing=(3, 7), name="hole")
    assert refused(hole) == (
        "--metric: found 'revenue' missing in 2 of 40 runs (2 failed, 0 not done, 0 undefined); "
        "sensitivity needs every design point"
    )
    undefined = made(study, lambda plan: np.where(plan["run"] == 5, np.nan, 1.0), points=4, name="undefined")
    assert "(0 failed, 0 not done, 1 undefined)" in refused(undefined)
    flat = made(study, lambda plan: 0.1 + 0 * plan["run"], points=4, sweep={"rounds": [1, 2]}, name="flat")
    assert "the same at all design points with rounds = 1; allowed are metrics that vary" in refused(flat)
    walk = made(study, linear, "morris", 4, name="walk")
    walk.plan[list(THREE)] *= 1.01
    assert "holds other trajectories than SALib makes now" in refused(walk)
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("SALib"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr("analysis.sensitivity.import_module", lambda name: without(name))
    assert "install it by pip install 'dealer-market[sensitivity]'" in refused(made(study, linear, points=4, name="no"))


def test_one_range_is_all_there_is():
    u = np.random.default_rng(0).random((8 * 3, 1))
    found = sobol_indices(np.sin(u[:, 0]), ["x"], np.random.default_rng(0))
    assert found["parameter"].tolist() == ["x"]
    walk = np.array([[0.0], [2 / 3], [1 / 3], [1.0]])
    effects = elementary_effects(3 * walk[:, 0], walk, ["x"], np.random.default_rng(0))
    assert effects[["mu", "mu_star", "sigma"]].iloc[0].tolist() == pytest.approx([3, 3, 0])
