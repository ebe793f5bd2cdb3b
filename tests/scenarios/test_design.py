"""Designs: grids, zipped lists and samples of ranges, and folders that grow by design points."""

import itertools
import json
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal
from scipy import stats

from scenarios import runner
from scenarios.design import design_points, markets, plan, unit_samples
from scenarios.errors import InputError
from scenarios.experiment import parse
from scenarios.runner import run_experiment
from scenarios.store import Results

SCENARIO = {
    "name": "small",
    "rounds": 1,
    "replicates": 2,
    "seed": 5,
    "data": {"source": "values"},
    "owners": [{"segment": "o", "count": 5, "value": {"dist": "expon"}, "privacy_sensitivity": 0.2}],
    "broker": {"epsilons": [1, 4]},
    "buyers": [
        {
            "segment": "b",
            "count": 10,
            "budget": {"dist": "lognorm", "s": 0.5, "scale": 200},
            "epsilon_expected": {"dist": "uniform", "scale": 4},
        }
    ],
}
UNIFORM = {"dist": "uniform", "loc": 0.1, "scale": 0.8}
COUNT = {"dist": "randint", "low": 3, "high": 40}
HEAVY = {"dist": "lognorm", "s": 1.0, "scale": 2.0}


def scenario(sweep, *, design=None, **changes):
    return parse(SCENARIO | {"sweep": sweep, "design": design or {}} | changes)


def run(folder, experiment):
    results = Results.create(folder, experiment)
    run_experiment(results)
    return Results(folder)


def ranges(sampling, points, **sweep):
    found = sweep or {"broker.commission": UNIFORM, "buyers.b.epsilon_expected": HEAVY, "buyers.b.count": COUNT}
    return scenario(found, design={"sampling": sampling, "points": points})


def test_lists_cross_zipped_lists_go_together_and_every_sample_meets_all_of_them():
    experiment = scenario(
        {
            "broker.pricing": ["median", "uniform"],
            "buyers.b.count": [10, 20, 30],
            "broker.commission": UNIFORM,
            "owners.o.count": [5, 6, 7],
            "rounds": [1, 2],
        },
        design={"zip": [["buyers.b.count", "owners.o.count"]], "points": 4},
    )
    points = design_points(experiment)
    commissions = stats.uniform(0.1, 0.8).ppf(unit_samples(experiment)[:, 0])
    by_hand = [
        {
            "broker.pricing": pricing,
            "buyers.b.count": buyers,
            "broker.commission": commission,
            "owners.o.count": owners,
            "rounds": rounds,
        }
        for commission in commissions
        for pricing in ("median", "uniform")
        for buyers, owners in ((10, 5), (20, 6), (30, 7))
        for rounds in (1, 2)
    ]
    assert points == by_hand
    assert [list(point) for point in points] == [list(experiment.sweep)] * len(points)
    rows = plan(experiment)
    assert rows["sample"].tolist() == [sample for sample in range(4) for _ in range(12)] * 2
    for row in rows.to_dict("records"):
        assert {key: row[key] for key in experiment.sweep} == points[row["point"]]


@pytest.mark.parametrize("sampling", ["sobol", "latin_hypercube"])
def test_one_sample_falls_into_each_of_as_many_strata(sampling):
    u = unit_samples(ranges(sampling, 64))
    assert u.shape == (64, 3)
    for column in u.T:
        assert sorted(np.floor(64 * column)) == list(range(64))


def test_sobol_points_are_balanced_in_two_dimensions_where_a_latin_hypercube_is_not():
    cells = {}
    for sampling in ("sobol", "latin_hypercube"):
        u = unit_samples(ranges(sampling, 64))[:, :2]
        cells[sampling] = np.unique(np.floor(8 * u) @ [8, 1]).size
    assert cells["sobol"] == 64
    assert cells["latin_hypercube"] < 64


def test_saltelli_swaps_one_column_at_a_time():
    experiment = ranges("saltelli", 8)
    u = unit_samples(experiment).reshape(8, 5, 3)
    a, b = u[:, 0], u[:, -1]
    for k in range(3):
        swapped = a.copy()
        swapped[:, k] = b[:, k]
        np.testing.assert_array_equal(u[:, 1 + k], swapped)
    assert np.unique(np.floor(8 * np.hstack([a, b])), axis=0).shape == (8, 6)
    for column in np.hstack([a, b]).T:
        assert sorted(np.floor(8 * column)) == list(range(8))


def test_morris_moves_one_parameter_at_a_time_and_reaches_the_ends():
    # The lower end of this distribution is far below any of its quantiles.
    narrow = {"dist": "beta", "a": 20, "b": 20, "loc": 0.1, "scale": 0.8}
    experiment = ranges("morris", 12, **{"broker.commission": narrow, "buyers.b.count": COUNT})
    u = unit_samples(experiment).reshape(12, 3, 2)
    moved = np.diff(u, axis=1) != 0
    assert (moved.sum(axis=2) == 1).all()
    assert (moved.sum(axis=1) == 1).all()
    values = np.array([list(point.values()) for point in design_points(experiment)])
    assert [values[:, 0].min(), values[:, 0].max()] == pytest.approx([0.1, 0.9])
    assert [values[:, 1].min(), values[:, 1].max()] == [3, 39]


@pytest.mark.parametrize("sampling", ["sobol", "random", "saltelli", "latin_hypercube"])
def test_samples_follow_their_distributions(sampling):
    experiment = ranges(sampling, 16)
    points = pd.DataFrame(design_points(experiment))
    u = unit_samples(experiment)
    np.testing.assert_allclose(points["broker.commission"], stats.uniform(0.1, 0.8).ppf(u[:, 0]), rtol=1e-15)
    np.testing.assert_allclose(points["buyers.b.epsilon_expected"], stats.lognorm(1, 0, 2).ppf(u[:, 1]), rtol=1e-15)
    assert points["buyers.b.count"].tolist() == stats.randint(3, 40).ppf(u[:, 2]).tolist()
    assert all(type(point["buyers.b.count"]) is int for point in design_points(experiment))
    assert [market.n_buyers for market in markets(experiment)] == points["buyers.b.count"].tolist()


@pytest.mark.parametrize("sampling", ["sobol", "random", "saltelli"])
def test_more_samples_begin_with_the_fewer(sampling):
    few, many = unit_samples(ranges(sampling, 8)), unit_samples(ranges(sampling, 32))
    np.testing.assert_array_equal(many[: len(few)], few)


@pytest.mark.parametrize("sampling", ["sobol", "random", "saltelli", "latin_hypercube", "morris"])
def test_samples_are_those_of_the_seed_alone(sampling):
    sweep = {"broker.commission": UNIFORM, "buyers.b.count": COUNT}
    np.random.seed(3)  # whoever draws from the global state is found out
    one = unit_samples(ranges(sampling, 8, **sweep))
    np.random.seed(4)
    np.testing.assert_array_equal(one, unit_samples(ranges(sampling, 8, **sweep)))
    other = scenario(sweep, design={"sampling": sampling, "points": 8}, seed=6)
    assert not np.array_equal(one, unit_samples(other))


@given(
    lists=st.lists(st.integers(1, 3), min_size=1, max_size=4),
    zipped=st.integers(0, 3),
    points=st.sampled_from([None, 1, 4]),
)
@settings(max_examples=40, deadline=None)
def test_any_design_has_every_combination_once(lists, zipped, points):
    names = ["broker.commission", "broker.survey_share", "owners.o.base_price_pool", "owners.o.participation"]
    sweep = {name: [0.1 * (k + 1) for k in range(size)] for name, size in zip(names, lists, strict=False)}
    group = [name for name in sweep if len(sweep[name]) == zipped]
    design = {"zip": [group]} if len(group) > 1 else {}
    if points:
        sweep |= {"buyers.b.noise_sensitivity": UNIFORM}
        design |= {"points": points, "sampling": "random"}
    experiment = scenario(sweep, design=design)
    rows = plan(experiment)
    free = [name for name in experiment.levels if name not in group[1:] * (len(group) > 1)]
    expected = list(itertools.product(range(points or 1), *(sweep[name] for name in free)))
    first = rows[rows["replicate"] == 0]
    assert sorted(map(tuple, first[["sample", *free]].to_numpy().tolist())) == sorted(expected)
    assert rows["run"].is_unique


BAD = [
    ({"broker.pricing": {"dist": "uniform"}}, {}, "design.points is missing"),
    ({"broker.pricing": ["median"]}, {"points": 8}, "design.points: found 8 where no range is swept"),
    ({"broker.pricing": ["median"]}, {"sampling": "morris"}, "design.sampling: found 'morris' where no range is swept"),
    (
        {"broker.commission": UNIFORM},
        {"points": 10},
        "points: found 10 with sampling = 'sobol'; allowed are powers of 2",
    ),
    ({"broker.commission": UNIFORM}, {"points": 12, "sampling": "saltelli"}, "allowed are powers of 2"),
    ({"broker.commission": UNIFORM}, {"points": 8, "sampling": "halton"}, "design.sampling: found 'halton'"),
    ({"broker.commission": UNIFORM}, {"points": 0}, "design.points: found 0"),
    ({"broker.commission": {"dist": "uniforn"}}, {"points": 8}, "'uniforn'"),
    ({"broker.commission": {"scale": 2}}, {"points": 8}, "a list of at least one value, or a range"),
    ({"broker.commission": []}, {}, "at least one value"),
    ({"broker.commission": 0.1}, {}, "sweep.broker.commission: found 0.1; allowed are a list"),
    (
        {"buyers.b.epsilon_expected": HEAVY},
        {"points": 8, "sampling": "morris"},
        "an unbounded range of 'buyers.b.epsilon",
    ),
    ({"broker.commission": [0.1, 0.2]}, {"zip": [["broker.commission"]]}, "groups of two parameters or more"),
    (
        {"broker.commission": [0.1, 0.2]},
        {"zip": [["broker.commission", "rounds"]]},
        "design.zip: found 'rounds'; allowed",
    ),
    (
        {"broker.commission": [0.1, 0.2], "rounds": [1, 2, 3]},
        {"zip": [["broker.commission", "rounds"]]},
        "found 2 values of broker.commission, 3 values of rounds; allowed are lists of the same length",
    ),
    (
        {"broker.commission": [0.1, 0.1], "rounds": [1, 1]},
        {"zip": [["broker.commission", "rounds"]]},
        "found the value 0.1, 1 of 'broker.commission', 'rounds' twice",
    ),
    ({"buyers.b.budget": [1, 2, 1.0]}, {}, "found the value 1.0 of 'buyers.b.budget' twice"),
    ({"data.label": ["1", 1]}, {}, "found the value 1 of 'data.label' twice"),
    (
        {"broker.commission": [0.1, 0.2], "rounds": [1, 2]},
        {"zip": [["broker.commission", "rounds"], ["rounds", "broker.commission"]]},
        "found 'broker.commission' twice",
    ),
    ({"broker.commission": {"dist": "uniform", "scale": 3}}, {"points": 8}, "broker.commission: found 1."),
    ({"buyers.b.count": UNIFORM}, {"points": 2}, "buyers.b.count: found 0."),
]


@pytest.mark.parametrize(("sweep", "design", "message"), BAD, ids=[message for *_, message in BAD])
def test_a_design_that_cannot_be_is_one_sentence(sweep, design, message):
    with pytest.raises(InputError) as caught:
        markets(scenario(sweep, design=design))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_range_has_no_baseline():
    for by in ("broker.commission", "rounds"):
        comparison = {"by": by, "baseline": 0.1}
        with pytest.raises(InputError, match=r"comparison\.by: found .*; allowed are the swept lists: broker\.pricing"):
            scenario(
                {"broker.commission": UNIFORM, "broker.pricing": ["median"]},
                design={"points": 8},
                comparison=comparison,
            )


def test_designs_of_sensitivity_analysis_say_what_they_need(monkeypatch):
    monkeypatch.setitem(sys.modules, "SALib.sample", None)
    with pytest.raises(InputError, match=r"needs SALib; install it by pip install 'dealer-market\[sensitivity\]'"):
        unit_samples(ranges("saltelli", 8))


def test_a_folder_knows_its_points(tmp_path):
    sweep = {
        "broker.pricing": ["median", "uniform"],
        "broker.epsilons": [[1, 2], [1, 4, 8]],
        "broker.manufacturing_budget": ["revenue", 30],
        "buyers.b.budget": [{"dist": "expon", "scale": 100}, 50, 2.5],
        "broker.commission": UNIFORM,
        "buyers.b.count": COUNT,
    }
    experiment = scenario(sweep, design={"points": 2})
    results = Results.create(tmp_path / "small", experiment)
    assert results.points == design_points(experiment)
    assert [list(map(type, point.values())) for point in results.points] == [
        list(map(type, point.values())) for point in design_points(experiment)
    ]


def test_the_samples_are_those_that_the_folder_keeps(tmp_path, monkeypatch):
    """Another version of SciPy may draw others; what was run is what is reopened."""
    experiment = scenario({"broker.commission": UNIFORM}, design={"points": 4})
    results = run(tmp_path / "small", experiment)
    monkeypatch.setattr("scenarios.design.unit_samples", lambda e: np.full((e.design.points, 1), 0.5))
    reopened = Results.create(results.folder, experiment)
    assert reopened.points == results.points
    assert len({point["broker.commission"] for point in reopened.points}) == 4
    with pytest.raises(InputError, match="design points that are not among those wanted"):
        Results.create(results.folder, scenario({"broker.commission": UNIFORM}, design={"points": 8}))


def by_parameters(results, name="rounds"):
    """A table by the parameters and the replicate, whatever the runs' numbers."""
    table = results.table(name).drop(columns=["run", "point"])
    keys = [*results.experiment.sweep, "replicate"]
    return table.sort_values([*keys, "round"], ignore_index=True)


GROWTH = [
    (
        ({"broker.pricing": ["median"]}, {}, 2),
        ({"broker.pricing": ["uniform", "median", "linear"]}, {}, 2),
    ),
    (
        ({"broker.commission": [0.1, 0.2], "rounds": [1, 2]}, {}, 1),
        ({"broker.commission": [0.1, 0.15, 0.2], "rounds": [3, 1, 2]}, {}, 3),
    ),
    (
        ({"broker.commission": [0, 1]}, {}, 1),
        ({"broker.commission": [1.0, 0.5, 0.0]}, {}, 1),
    ),
    (
        ({"broker.commission": UNIFORM}, {"points": 4}, 2),
        ({"broker.commission": UNIFORM}, {"points": 8}, 3),
    ),
    (
        ({"broker.commission": UNIFORM, "broker.pricing": ["median"]}, {"points": 2, "sampling": "random"}, 2),
        ({"broker.commission": UNIFORM, "broker.pricing": ["low", "median"]}, {"points": 5, "sampling": "random"}, 2),
    ),
    (
        ({"broker.commission": [0.1, 0.2], "rounds": [1, 2]}, {"zip": [["broker.commission", "rounds"]]}, 1),
        ({"broker.commission": [0.1, 0.2, 0.1], "rounds": [1, 2, 2]}, {"zip": [["broker.commission", "rounds"]]}, 2),
    ),
    (
        ({"broker.manufacturing_budget": [20, 30]}, {}, 1),
        ({"broker.manufacturing_budget": [20, "revenue", 30]}, {}, 2),
    ),
    (
        (
            {"buyers.b.noise_sensitivity": UNIFORM, "rounds": COUNT | {"high": 4}},
            {"points": 2, "sampling": "saltelli"},
            1,
        ),
        (
            {"buyers.b.noise_sensitivity": UNIFORM, "rounds": COUNT | {"high": 4}},
            {"points": 4, "sampling": "saltelli"},
            2,
        ),
    ),
]


@pytest.mark.parametrize(
    ("before", "after"), GROWTH, ids=["list", "lists", "whole", "sobol", "both", "zip", "types", "saltelli"]
)
def test_design_points_are_added_to_a_finished_study(tmp_path, monkeypatch, before, after):
    """Only what is missing is run; rows are those of a study that was so from the beginning."""
    small, large = (scenario(sweep, design=design, replicates=n) for sweep, design, n in (before, after))
    whole = run(tmp_path / "whole", large)
    kept = run(tmp_path / "small", small)
    parts = {path: path.read_bytes() for path in (kept.folder / "rounds").iterdir()}
    done = []
    monkeypatch.setattr(runner, "run_one", lambda *a, _f=runner.run_one: (done.append(a), _f(*a))[1])
    more = run(kept.folder, large)
    assert len(done) == len(whole.plan) - len(kept.plan)
    assert_frame_equal(by_parameters(more), by_parameters(whole), check_exact=True)
    old = more.table("rounds")
    old = old[old["run"] < len(kept.plan)].reset_index(drop=True)
    swept = list(small.sweep)
    assert_frame_equal(old.drop(columns=swept), kept.table("rounds").drop(columns=swept), check_exact=True)
    assert sorted(more.plan["run"]) == list(range(len(whole.plan)))
    assert sorted(map(repr, more.points)) == sorted(map(repr, design_points(large)))
    assert more.plan.groupby("point")["replicate"].nunique().eq(large.replicates).all()
    assert more.provenance["extended"][0]["points"] == len(design_points(large))
    assert {path: path.read_bytes() for path in parts} == parts
    # Nothing is left to do, and the smaller study is another one now.
    run(kept.folder, large)
    assert len(done) == len(whole.plan) - len(kept.plan)
    with pytest.raises(InputError, match="holds another scenario, where "):
        Results.create(kept.folder, small)


def test_an_extension_by_points_that_was_cut_off_is_made_again(tmp_path):
    small, large = (scenario({"broker.pricing": names}) for names in (["median"], ["low", "median"]))
    results = run(tmp_path / "small", small)
    text = (results.folder / "plan.parquet").read_bytes()
    Results.create(results.folder, large)
    (results.folder / "plan.parquet").write_bytes(text)  # killed between the two files
    assert Results(results.folder).points == [{"broker.pricing": "median"}]
    more = run(results.folder, large)
    assert_frame_equal(by_parameters(more), by_parameters(run(tmp_path / "whole", large)), check_exact=True)


def test_designs_that_cannot_be_continued_are_refused(tmp_path):
    for sampling in ("latin_hypercube", "morris"):
        results = Results.create(tmp_path / sampling, ranges(sampling, 4, **{"broker.commission": UNIFORM}))
        with pytest.raises(InputError, match=r"holds another scenario, where design\.points is 4, not 8"):
            Results.create(results.folder, ranges(sampling, 8, **{"broker.commission": UNIFORM}))
    folder = Results.create(tmp_path / "list", scenario({"rounds": [1, 2]})).folder
    for values in ([1], [2, 1], [1, 3], [1, 3, 4]):
        with pytest.raises(InputError, match=r"holds another scenario, where sweep\.rounds"):
            Results.create(folder, scenario({"rounds": values}))


def test_a_folder_of_the_first_layout_opens_and_goes_on(tmp_path):
    experiment = scenario({"broker.pricing": ["median", "low"]}, replicates=30)
    results = run(tmp_path / "small", experiment)
    before = results.table("rounds")
    plan_ = results.plan.drop(columns=["sample", "batch"])
    assert results.plan["batch"].tolist() == (results.plan["run"] // 2).tolist()
    plan_.to_parquet(results.folder / "plan.parquet", index=False)
    provenance = results.provenance | {"format": 1, "batch_size": 2}
    del provenance["scenario"]["design"]
    (results.folder / "experiment.json").write_text(json.dumps(provenance), encoding="utf-8")
    old = Results(results.folder)
    assert_frame_equal(old.table("rounds"), before, check_exact=True)
    assert_frame_equal(old.plan, results.plan)
    larger = scenario({"broker.pricing": ["median", "low", "uniform"]}, replicates=31)
    more = run(results.folder, larger)
    assert_frame_equal(by_parameters(more), by_parameters(run(tmp_path / "whole", larger)), check_exact=True)


def test_common_random_numbers_reach_over_samples(tmp_path):
    """A commission changes nothing that is drawn: in a replicate every sample meets the same owners."""
    owners = [SCENARIO["owners"][0] | {"privacy_sensitivity": UNIFORM}]
    experiment = scenario(
        {"broker.commission": UNIFORM}, design={"points": 4}, tables=["rounds", "owners"], owners=owners
    )
    table = run(tmp_path / "small", experiment).table("owners")
    assert table["broker.commission"].nunique() == 4
    assert table.groupby(["replicate", "owner"])["privacy_sensitivity"].nunique().eq(1).all()
    assert table.groupby("owner")["privacy_sensitivity"].nunique().eq(2).all()
