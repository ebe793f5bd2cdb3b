"""Finding classes by the names of a scenario file: discovery, a user's own classes, messages."""

import importlib
import sys

import pytest

from simulator.agents.buyer import BUYERS
from simulator.agents.curve import CURVES
from simulator.agents.owner import OWNERS
from simulator.checks import check_described
from simulator.pricing import PricingStrategy, pricing_strategies
from simulator.pricing.strategy import PRICING
from simulator.procurement import procurement_methods
from simulator.procurement.method import PROCUREMENT
from simulator.registry import Described, Family
from simulator.settlement import settlement_rules
from simulator.settlement.rule import SETTLEMENT
from simulator.valuation import valuation_estimators
from simulator.valuation.estimator import VALUATION

FAMILIES = (PRICING, PROCUREMENT, SETTLEMENT, VALUATION, OWNERS, BUYERS, CURVES)


class Mine(PricingStrategy):
    """A user's own strategy."""

    name = "mine"

    def __init__(self, *, level: float = 1.0):
        if level < 0:
            raise ValueError("level must be >= 0")
        if not isinstance(level, float):
            raise TypeError("level must be a number")
        self.level = level


class NotMine:
    """Of no family."""


# --- built-in classes ------------------------------------------------------------------------------------


def test_built_in_names():
    assert {"dpp_plus", "low", "median", "high", "linear", "uniform", "monopoly", "perfect"} <= set(
        pricing_strategies()
    )
    assert {"exact", "greedy", "random", "all"} <= set(procurement_methods())
    assert {"exact", "permutation", "complementary"} <= set(valuation_estimators())
    assert {"neutral", "guaranteed"} <= set(settlement_rules())


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.noun)
def test_every_class_says_what_it_is_and_is_found_by_its_name(family):
    classes = family.classes()
    assert list(classes) == sorted(classes)
    for name, cls in classes.items():
        check_described(cls)
        assert cls.name == name
        assert issubclass(cls, family.base)
        assert family.resolve(name) is cls
        assert family.resolve(f"{cls.__module__}:{cls.__qualname__}") is cls


def test_a_users_class_is_not_listed_among_the_built_in_ones():
    assert "mine" not in pricing_strategies()
    assert PRICING.resolve(f"{__name__}:Mine") is Mine


def test_a_user_names_a_class_in_a_module_of_its_own(tmp_path, monkeypatch):
    (tmp_path / "my_strategies.py").write_text(
        "from simulator.pricing import PricingStrategy\n"
        "class Flat(PricingStrategy):\n"
        '    """One for all."""\n'
        '    name = "flat"\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    cls = PRICING.resolve("my_strategies:Flat")
    assert cls.name == "flat"
    assert PRICING.create("my_strategies:Flat", {}).arbitrage_free
    monkeypatch.delitem(sys.modules, "my_strategies")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of a new family, as files on disk."""

    def make(**modules):
        folder = tmp_path / "family_on_disk"
        folder.mkdir()
        base = 'from simulator.registry import Described\nclass Base(Described):\n    """Base."""\n'
        for name, text in {"__init__": "", "base": base, **modules}.items():
            (folder / f"{name}.py").write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        importlib.invalidate_caches()
        return Family(importlib.import_module("family_on_disk.base").Base, "thing")

    yield make
    for name in [name for name in sys.modules if name.partition(".")[0] == "family_on_disk"]:
        del sys.modules[name]


def test_every_named_class_of_the_package_is_found_in_whatever_file(package):
    family = package(
        one="from family_on_disk.base import Base\n"
        'class A(Base):\n    """A."""\n    name = "a"\n'
        'class Abstract(Base):\n    """No name."""\n',
        two="from family_on_disk.one import A, Abstract\n"
        'class B(Abstract):\n    """B."""\n    name = "b"\n'
        'class Heir(A):\n    """Bears its parent\'s name only."""\n',
    )

    class Outsider(family.base):
        """Of the family, but a user's own."""

        name = "outsider"

    assert {name: cls.__name__ for name, cls in family.classes().items()} == {"a": "A", "b": "B"}


def test_two_classes_of_one_name_are_an_error(package):
    family = package(
        one='from family_on_disk.base import Base\nclass A(Base):\n    """A."""\n    name = "a"\n',
        two='from family_on_disk.base import Base\nclass B(Base):\n    """B."""\n    name = "a"\n',
    )
    with pytest.raises(RuntimeError, match="share the name 'a'"):
        family.classes()


# --- messages --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("cheapest", "unknown pricing strategy 'cheapest'; allowed are .*dpp_plus"),
        ("", "unknown pricing strategy ''"),
        ("DPP_PLUS", "unknown pricing strategy"),
        ("no_such_module:Mine", "cannot be imported: ModuleNotFoundError: No module named 'no_such_module'"),
        (f"{__name__}:Missing", "cannot be imported"),
        (f"{__name__}:", "cannot be imported"),
        (":Mine", "cannot be imported"),
        (".relative:Mine", "cannot be imported"),
        (f"{__name__}:NotMine", "not a subclass of PricingStrategy"),
        (f"{__name__}:package", "not a subclass of PricingStrategy"),
        ("simulator.procurement.exact:Exact", "not a subclass of PricingStrategy"),
    ],
)
def test_names_that_stand_for_nothing_are_refused(name, told):
    with pytest.raises(ValueError, match=told):
        PRICING.resolve(name)


def test_options():
    mine = f"{__name__}:Mine"
    assert Mine.options() == {"level": 1.0}
    assert PRICING.create(mine, {"level": 2.0}).level == 2.0
    with pytest.raises(ValueError, match=r"no option 'depth'; it takes level"):
        PRICING.create(mine, {"depth": 1})
    with pytest.raises(ValueError, match="level must be a number"):
        PRICING.create(mine, {"level": 3})
    with pytest.raises(ValueError, match="level must be >= 0"):
        PRICING.create(mine, {"level": -1.0})
    with pytest.raises(ValueError, match="no option 'level'; it takes no options"):
        PRICING.create("low", {"level": 1.0})
    with pytest.raises(ValueError, match="raw must be true or false"):
        PRICING.create("linear", {"raw": "yes"})


class Strict(PricingStrategy):
    """Cannot do without its level."""

    name = "strict"

    def __init__(self, *, level, other=0):
        self.level = level


def test_required_options():
    strict = f"{__name__}:Strict"
    assert PRICING.create(strict, {"level": 0}).level == 0
    with pytest.raises(ValueError, match=r"Strict' needs the option 'level'; found no options"):
        PRICING.create(strict, {})
    with pytest.raises(ValueError, match=r"Strict' needs the option 'level'; found other"):
        PRICING.create(strict, {"other": 1})


def test_the_summary_is_the_first_line_of_the_docstring():
    class Long(Described):
        """First line.

        Second.
        """

    class Silent(Described):
        pass

    assert Long.summary() == "First line."
    assert Silent.options() == {}
    with pytest.raises(AssertionError, match="needs a name"):
        check_described(Long)


def test_a_description_is_one_sentence():
    class Undescribed(Described):
        name = "undescribed"

    class Fragment(Described):
        """Not a sentence"""

        name = "fragment"

    with pytest.raises(AssertionError, match="needs a docstring"):
        check_described(Undescribed)
    with pytest.raises(AssertionError, match="one sentence"):
        check_described(Fragment)


def test_options_under_a_name_are_for_that_class_alone():
    mine = f"{__name__}:Mine"
    options = {"linear": {"raw": True}, mine: {"level": 3.0}}
    assert PRICING.create(mine, options).level == 3.0
    assert PRICING.create("linear", options).raw
    assert PRICING.create("dpp_plus", options).name == "dpp_plus"
    assert PRICING.create("linear", {"raw": False} | options).raw  # its own option before the common one
    with pytest.raises(ValueError, match="has no option 'linaer'"):
        PRICING.create("linear", {"linaer": {"raw": True}})
    with pytest.raises(ValueError, match="has no option 'row'"):
        PRICING.create("linear", {"linear": {"row": True}})
