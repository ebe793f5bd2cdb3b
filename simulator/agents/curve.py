"""Valuation curves: what coverage and privacy level are worth to a buyer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit

from simulator.agents.population import Parametrised
from simulator.records import Menu
from simulator.registry import Family

if TYPE_CHECKING:
    from simulator.agents.buyer import BuyerRows

#: A coverage this little below a threshold reaches it: the shares that add up to full coverage are rounded.
ROUNDING = 1e-9


class ValuationCurve(Parametrised):
    """What each version is worth to a buyer, given its coverage and privacy level.

    A curve is a subclass with a `name` that implements `worth`. What a version is worth lies between 0 and the
    buyer's budget, and does not fall in coverage or epsilon. A curve may have parameters of its own (`Parameter`),
    which a scenario sets in `curve_options` and `worth` finds on the buyer.
    """

    #: Whether `worth` takes all buyers at once as well, with attributes of shape (m, 1): array arithmetic without
    #: branches. Other curves are evaluated buyer by buyer.
    broadcasts: bool = False

    @staticmethod
    def worth(buyer: Any, menu: Menu) -> np.ndarray:
        """Willingness to pay for each version, shape (l,), in money.

        Parameters
        ----------
        buyer : object
            Its attributes are those of `ModelBuyer` and the curve's own parameters.
        menu : Menu
            Privacy levels and coverages of the versions, shape (l,).
        """
        raise TypeError("a valuation curve needs the method 'worth'")

    @classmethod
    def worth_all(cls, rows: BuyerRows, menu: Menu) -> np.ndarray:
        """`worth` of all rows, shape (m, l)."""
        if cls.broadcasts:
            return cls.worth(_Transposed(rows, cls), menu)
        worth = [cls.worth(agent, menu) for agent in rows.agents]
        return np.array(worth, dtype=float).reshape(len(rows), len(menu.epsilons))


class _Transposed:
    """Columns of a segment, each of shape (m, 1)."""

    def __init__(self, rows: BuyerRows, curve: type[ValuationCurve]) -> None:
        self._rows = rows
        self._own = curve.parameters()

    def __getattr__(self, name: str) -> np.ndarray:
        return getattr(self._rows, column(name) if name in self._own else name)[:, None]


class Sigmoid(ValuationCurve):
    """Two sigmoids: V sigma(d (CR - theta)) sigma(g (eps - eta)), half of each at what the buyer expects."""

    name = "sigmoid"
    source = "Liu et al. (2021)"
    broadcasts = True

    @staticmethod
    def worth(buyer: Any, menu: Menu) -> np.ndarray:
        """V sigma(d (CR_k - theta)) sigma(g (eps_k - eta))."""
        coverage = expit(buyer.coverage_sensitivity * (menu.coverage - buyer.coverage_expected))
        noise = expit(buyer.noise_sensitivity * (menu.epsilons - buyer.epsilon_expected))
        return buyer.budget * coverage * noise


class Linear(ValuationCurve):
    """Two lines, cut off at 0 and 1: the tangents of the sigmoids at what the buyer expects."""

    name = "linear"
    broadcasts = True

    @staticmethod
    def worth(buyer: Any, menu: Menu) -> np.ndarray:
        """V L(d (CR_k - theta)) L(g (eps_k - eta)) with L(z) = min(1, max(0, 1/2 + z/4))."""
        coverage = _line(buyer.coverage_sensitivity * (menu.coverage - buyer.coverage_expected))
        noise = _line(buyer.noise_sensitivity * (menu.epsilons - buyer.epsilon_expected))
        return buyer.budget * coverage * noise


class Threshold(ValuationCurve):
    """All or nothing: V if coverage and privacy level both reach what the buyer expects, else 0."""

    name = "threshold"
    broadcasts = True

    @staticmethod
    def worth(buyer: Any, menu: Menu) -> np.ndarray:
        """V if CR_k >= theta and eps_k >= eta."""
        coverage = menu.coverage >= buyer.coverage_expected - ROUNDING
        noise = menu.epsilons >= buyer.epsilon_expected
        return buyer.budget * (coverage & noise)


def _line(z: np.ndarray) -> np.ndarray:
    """Tangent of the sigmoid at 0, cut off where it leaves [0, 1]."""
    return np.clip(0.5 + z / 4, 0.0, 1.0)


def column(parameter: str) -> str:
    """Name of the population's column of a curve's parameter, apart from those of behaviours."""
    return f"curve.{parameter}"


CURVES = Family(ValuationCurve, "valuation curve")
