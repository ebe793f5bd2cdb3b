"""Scenario files: reading, overriding, and one clear sentence for each mistake."""

import re
import tomllib

import pytest

from scenarios.design import design_points, markets, plan
from scenarios.errors import InputError
from scenarios.experiment import library, load, parse, parse_setting, set_dotted


def write(tmp_path, text, name="scenario.toml"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", sorted(library()))
def test_library_scenarios_are_valid_and_described(name):
    experiment = load(name)
    assert experiment.name.replace("-", "_") == name
    assert experiment.title
    assert experiment.description
    assert experiment.comparison is not None
    assert len(markets(experiment)) == len(design_points(experiment))


def test_the_template_is_valid():
    from importlib import resources

    raw = tomllib.loads((resources.files("scenarios") / "template.toml").read_text(encoding="utf-8"))
    assert len(markets(parse(raw))) == 3


def test_settings_reach_any_depth():
    experiment = load(
        "demo",
        ["rounds=3", "buyers.hospitals.budget.s=0.25", "broker.valuation.tolerance=0.2", "broker.pricing=median"],
    )
    assert experiment.rounds == 3
    assert dict(experiment.buyers[0].budget.params)["s"] == 0.25
    assert experiment.broker.valuation.tolerance == 0.2
    assert experiment.broker.pricing == "median"


@pytest.mark.parametrize(
    ("text", "value"),
    [("a=1", 1), ("a=0.5", 0.5), ("a=[1, 2]", [1, 2]), ("a=true", True), ("a=median", "median"), ('a="x y"', "x y")],
)
def test_setting_values_are_read_as_toml_or_taken_as_words(text, value):
    assert parse_setting(text) == ("a", value)


def test_sweep_is_the_full_grid_and_runs_follow_replicates():
    experiment = load("credit_risk", ["replicates=2"])
    points = design_points(experiment)
    assert len(points) == 6
    runs = plan(experiment)
    assert runs["run"].tolist() == list(range(12))
    assert runs["replicate"].tolist() == [0] * 6 + [1] * 6
    for row in runs.to_dict("records"):
        assert {key: row[key] for key in experiment.sweep} == points[row["point"]]


def test_each_design_point_differs_in_the_swept_parameter_alone():
    experiment = load("medical_sharing")
    found = markets(experiment)
    assert [market.broker.commission for market in found] == experiment.sweep["broker.commission"]
    first = found[0].model_dump()
    for market in found[1:]:
        other = market.model_dump()
        other["broker"]["commission"] = first["broker"]["commission"]
        assert other == first


BAD = [
    ("broker.pricng=median", ["broker.pricng", "unknown key", "did you mean 'pricing'"]),
    ("buyers.hospitals.bugdet=1", ["buyers.hospitals.bugdet", "did you mean 'budget'"]),
    ("roundz=3", ["roundz", "did you mean 'rounds'"]),
    ("broker.epsilons=[-1, 2]", ["broker.epsilons", "-1", "positive"]),
    ("broker.epsilons=[2, 1]", ["broker.epsilons", "[2.0, 1.0]", "increasing"]),
    ("broker.epsilons=[]", ["broker.epsilons", "at least one"]),
    ("broker.delta=0", ["broker.delta", "found 0", "greater than 0"]),
    ("broker.pricing=cheapest", ["broker", "'cheapest'", "dpp_plus"]),
    ("broker.pricing_options.power=2", ["broker", "'power'", "takes"]),
    ("broker.procurement=magic", ["broker", "'magic'", "greedy"]),
    ("broker.settlement=magic", ["broker.settlement", "'magic'", "neutral"]),
    ("broker.commission=1.5", ["broker.commission", "1.5", "less than or equal to 1"]),
    ("broker.valuation.method=magic", ["broker.valuation.method", "'magic'", "permutation"]),
    ("broker.manufacturing_budget=-3", ["broker.manufacturing_budget", "-3"]),
    ("broker.manufacturing_budget=[1, 2]", ["manufacturing_budget", "2 amounts", "5"]),
    ("buyers.hospitals.budget={dist='lognorm', sigma=1}", ["buyers.hospitals.budget", "'sigma'", "s, loc, scale"]),
    ("buyers.hospitals.budget={dist='lognorm', s=1, scale=-1}", ["buyers.hospitals.budget", "scale = -1"]),
    ("buyers.hospitals.budget={dist='lognormal', s=1}", ["buyers.hospitals.budget", "'lognormal'", "scipy.stats"]),
    ("buyers.hospitals.budget={dist='norm', loc=5}", ["buyers.hospitals.budget", "-inf", ">= 0"]),
    ("buyers.hospitals.budget=lots", ["buyers.hospitals.budget", "'lots'", "a number"]),
    ("buyers.hospitals.budget=[1, 2]", ["buyers.hospitals", "list of 2", "count = 120"]),
    ("buyers.hospitals.count=0", ["buyers.hospitals.count", "found 0", "without arrivals", "numbers >= 1"]),
    ("buyers.hospitals.curve=lin", ["buyers.hospitals.curve", "'lin'", "did you mean 'linear'"]),
    ("buyers.hospitals.stay=0.2", ["buyers.hospitals.stay", "found 0.2", "greater than or equal to 1"]),
    ("buyers.hospitals.arrivals=-3", ["buyers.hospitals.arrivals", "found -3", "greater than or equal to 0"]),
    ("buyers.hospitals.behaviour=magic", ["buyers.hospitals.behaviour", "'magic'", "surplus"]),
    ("buyers=[]", ["buyers", "at least 1"]),
    ("buyers.clinics.count=3", ["'clinics'", "hospitals, startups"]),
    ("buyers.count=3", ["'count'", "name a segment"]),
    ("owners.patients.count=1000", ["owners", "1000 owners", "455 training records"]),
    ("owners.patients.value=1", ["owners.patients.value", "values"]),
    ("owners.patients.participation=2", ["owners.patients.participation", "from 0 to 1"]),
    ("data.source=values", ["owners.patients.value is missing"]),
    ("data.source=mnist", ["data.source", "'mnist'", "breast_cancer"]),
    ("data.source=nowhere.csv", ["label is missing"]),
    ("replicates=0", ["replicates", "found 0"]),
    ("rounds=2.5", ["rounds", "2.5", "integer"]),
    ("seed=-1", ["seed", "found -1"]),
    ("name=a/b", ["name", "'a/b'"]),
    ('tables=["versions"]', ["tables", "'rounds' must be"]),
    ('tables=["rounds", "trades"]', ["tables", "'trades'", "sales"]),
    ("comparison.baseline=dear", ["comparison.baseline", "'dear'", "dpp_plus"]),
    ("comparison.by=rounds", ["comparison.by", "'rounds'", "broker.pricing"]),
    ('sweep={"broker.pricing"=["magic", "median"]}', ["'magic'"]),
    ("rounds.deep=1", ["rounds.deep", "not a table"]),
    ("brokers.lean.commission=0.1", ["brokers.lean.commission: found a named broker where there is one"]),
    ("broker.training.records_per_owner=5", ["broker.training.records_per_owner: found 5 with method = 'auto'"]),
    ("rounds", ["--set", "KEY=VALUE"]),
    ("rounds=true", ["rounds", "found True"]),
    ("rounds='5'", ["rounds", "found '5'"]),
    ("broker.commission='0.1'", ["broker.commission", "found '0.1'"]),
    ("broker.epsilons=['1', '2']", ["broker.epsilons", "found '1'"]),
    ("data.separation=inf", ["data.separation", "found inf"]),
    ("broker.valuation.tolerance=nan", ["broker.valuation.tolerance", "found nan"]),
    ('comparison.metrics=["revenu"]', ["comparison.metrics", "'revenu'", "revenue"]),
    ('sweep={"broker"=[{pricing="low"}]}', ["sweep", "'broker'", "dotted name"]),
    ('sweep={"broker.valuation"=[{budget=1}], "broker.valuation.budget"=[2]}', ["sweep", "part of the other"]),
    ('sweep={"broker.pricing"=["low", "median", "low"]}', ["sweep", "'low'", "twice"]),
]


@pytest.mark.parametrize(("setting", "parts"), BAD, ids=[setting for setting, _ in BAD])
def test_a_mistake_gets_one_sentence_that_names_it(setting, parts):
    with pytest.raises(InputError) as caught:
        markets(load("demo", [setting]))
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message, message


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("broker.commission=0.1", "broker.commission: found the section broker where brokers are named; allowed are "),
        ('sweep={"broker.commission"=[0, 0.1]}', "broker.commission: found the section broker where brokers are named"),
        (
            "brokers.nobody.commission=0",
            "brokers.nobody.commission: found the broker 'nobody'; allowed in brokers are ",
        ),
        ("brokers.lean=1", "brokers.lean: found 'lean'; name a broker and its field, of the brokers lean, dear"),
        ("brokers.dear.comission=0", "brokers.dear.comission: found an unknown key (did you mean 'commission'?)"),
        ("brokers.dear.training.curve=iris", "brokers.dear.training.curve: found 'iris' with method = 'auto'"),
        ("brokers.dear.valuation.method_options={x=1}", "brokers.dear.valuation.method_options: found options for"),
        ("brokers.dear.name=lean", "brokers: found the name 'lean' twice"),
        ("brokers.dear.capital=-1", "brokers.dear.capital: found -1; allowed is greater than or equal to 0"),
    ],
)
def test_a_mistake_of_one_of_several_brokers_names_it(setting, says):
    settings = [setting] if "sweep" not in setting else [setting, 'comparison={by="broker.commission", baseline=0}']
    with pytest.raises(InputError) as caught:
        markets(load("homing", settings))
    assert str(caught.value).startswith(says)


def test_an_epsilon_that_the_training_cannot_serve_is_refused():
    served = load("demo", ["broker.epsilons=[1, 50]"])
    assert markets(served)
    with pytest.raises(InputError, match=r"broker\.epsilons: found 50; .*'amp'.*smaller epsilon"):
        markets(load("demo", ["broker.epsilons=[1, 50]", "broker.training.method=amp"]))


def test_swept_values_are_checked_before_anything_runs():
    with pytest.raises(InputError, match=r"broker\.commission: found 2.*at broker\.commission = 2"):
        markets(load("medical_sharing", ['sweep={"broker.commission"=[0, 2]}']))
    with pytest.raises(InputError, match="replicates"):
        markets(
            load("retail_demand", ['sweep={"replicates"=[1, 2]}', "comparison.by=replicates", "comparison.baseline=1"])
        )


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="neither a file nor one of"):
        load("no_such_scenario")
    with pytest.raises(InputError, match=r"broken\.toml is not valid TOML"):
        load(write(tmp_path, "rounds = = 3", "broken.toml"))
    with pytest.raises(InputError, match="owners is missing"):
        load(write(tmp_path, 'name = "x"\nbuyers = [{ segment = "b", count = 1, budget = 1, epsilon_expected = 1 }]'))


CSV_SCENARIO = """
name = "csv"
rounds = 1
[data]
source = "records.csv"
label = "ill"
[[owners]]
segment = "o"
count = 3
privacy_sensitivity = 0.1
[[buyers]]
segment = "b"
count = 2
budget = 10
epsilon_expected = 1
"""


@pytest.mark.parametrize(
    ("csv", "message"),
    [
        (None, "there is no file"),
        ("age,ill\n1,0\n,1\n3,0\n4,1\n5,1\n", "column 'age' has 1 missing value"),
        ("age,ill\n1,0\n2,\n3,0\n4,1\n5,1\n", "column 'ill' has 1 missing value"),
        ("age,ill\n1,0\n2,0\n3,0\n4,0\n5,0\n", "column 'ill' holds one class"),
        ("age,ill\n1,0\ntwo,1\n3,0\n4,1\n5,1\n", "column 'age' is not numeric"),
        ("age,well\n1,0\n2,1\n3,0\n4,1\n5,1\n", "data.label: found 'ill'; the columns of records.csv are age, well"),
        ("ill\n0\n1\n0\n1\n0\n", "no column besides the label"),
        ("age,ill\n1,0\n2,1\n", "3 owners for 1 training records"),
        ("", "cannot be read as CSV"),
    ],
)
def test_data_files_that_cannot_be_used(tmp_path, csv, message):
    scenario = write(tmp_path, CSV_SCENARIO)
    if csv is not None:
        write(tmp_path, csv, "records.csv")
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        markets(load(scenario))
    assert "\n" not in str(caught.value)


def test_a_data_file_is_found_beside_its_scenario(tmp_path):
    rows = "\n".join(f"{i % 7},{i % 3},{i % 2}" for i in range(40))
    write(tmp_path, f"age,weight,ill\n{rows}\n", "records.csv")
    assert len(markets(load(write(tmp_path, CSV_SCENARIO)))) == 1


def test_the_resolved_scenario_reads_back_the_same():
    for name in library():
        experiment = load(name)
        assert parse(experiment.scenario()) == experiment


def test_set_dotted_makes_missing_tables():
    raw = {"name": "x"}
    set_dotted(raw, "broker.valuation.budget", 5)
    assert raw == {"name": "x", "broker": {"valuation": {"budget": 5}}}
