"""Owners who overstate, or understate, how much they mind."""

from __future__ import annotations

import numpy as np

from simulator.agents.owner import Truthful
from simulator.agents.population import Parameter, Rows


class Inflate(Truthful):
    """Reports its true privacy sensitivity times a factor.

    Attributes
    ----------
    factor : float
        What the truth is multiplied by; below 1 the owner understates.
    """

    name = "inflate"
    source = ""
    factor = Parameter(1.5, low=0.0)

    def offer(self) -> tuple[bool, float]:
        """The truth times the factor."""
        return self.willing, self.factor * self.privacy_sensitivity

    @classmethod
    def offer_all(cls, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
        """The truth times the factor, of all."""
        return rows.willing, rows.factor * rows.privacy_sensitivity
