"""Owners who report what would have paid best in the round before."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from simulator.agents.owner import Truthful
from simulator.agents.population import Column, Parameter, Rows

if TYPE_CHECKING:
    from simulator.incentives import Outlook


class BestResponse(Truthful):
    """Reports what would have earned it most in the last round that it took part in, the others' reports as they were.

    Attributes
    ----------
    revision : float
        Chance that it thinks again after a round; else its report stays.
    report : float
        What it reports; NaN, which stands for the truth, until it has thought once.
    """

    name = "best_response"
    source = "Cournot (1838)"
    revision = Parameter(1.0, low=0.0, high=1.0)
    report = Column(default=math.nan)

    def offer(self) -> tuple[bool, float]:
        """The report thought best, at first the truth."""
        return self.willing, self.privacy_sensitivity if math.isnan(self.report) else self.report

    @classmethod
    def offer_all(cls, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
        """The reports thought best, at first the truth."""
        return rows.willing, np.where(np.isnan(rows.report), rows.privacy_sensitivity, rows.report)

    def reconsider(self, outlook: Outlook) -> None:
        """Search the best report, if it took part and thinks again."""
        if outlook.took_part(self.row) and self.uniform("revision") < self.revision:
            self.report = outlook.best_report(self.row).report

    @classmethod
    def reconsider_all(cls, rows: Rows, outlook: Outlook) -> None:
        """Search the best reports of those that took part and think again."""
        for row in np.flatnonzero(rows.uniforms("revision") < rows.revision).tolist():
            owner = rows.start + row
            if outlook.took_part(owner):
                rows.report[row] = outlook.best_report(owner).report
