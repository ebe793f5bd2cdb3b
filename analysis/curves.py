"""Accuracy curves of the surrogate for training, told in tables and words."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from simulator.privacy.surrogate import AccuracyCurve


def error_table(curves: Sequence[AccuracyCurve]) -> pd.DataFrame:
    """A row a calibrated curve: what it is for, and its out-of-sample errors in points of accuracy."""
    rows = []
    for curve in curves:
        found = curve.calibration
        if found is None:
            continue
        errors = found.errors
        rows.append(
            {
                "data": found.data["source"],
                "model": found.training["model"],
                "neighbours": found.training["neighbours"],
                "method": found.training["method"],
                "ceiling": f"{100 * curve.ceiling:.1f}",
                "RMSE": f"{100 * errors.rmse:.2f}",
                "noise": f"{100 * errors.noise:.2f}",
                "largest": f"{100 * errors.largest:.1f}",
                "misfit": f"{100 * errors.misfit:.2f}",
                "largest misfit": f"{100 * errors.largest_misfit:.1f}",
                "trainings": f"{found.trainings:,}",
            }
        )
    return pd.DataFrame(rows)


def formula(curve: AccuracyCurve) -> str:
    """The curve with its numbers, and where it holds."""
    (low, high), (fewest, most) = curve.epsilon_range, curve.records_range
    decay = f"exp(-{curve.learning_coverage:.3g} * coverage)"
    return (
        f"accuracy = {curve.chance:.3f} + {curve.ceiling - curve.chance:.3f} / (1 + N + L), with s = records / 100,\n"
        f"N = {curve.noise:.3g} * eps^-{curve.noise_epsilon:.3g} * s^-{curve.noise_records:.3g},\n"
        f"L = {curve.learning:.3g} * s^-{curve.learning_records:.3g} * {decay},\n"
        f"calibrated for eps {low:g} to {high:g} and {fewest:g} to {most:g} records.\n"
        "Errors are in points of accuracy, on markets that the curve was not fitted to: those of single trainings, of\n"
        "which noise alone makes up the column noise, and the misfit of means over markets."
    )


def summary(curves: Sequence[AccuracyCurve]) -> str:
    """The curves of one data set in a line."""
    misfits = [100 * curve.calibration.errors.misfit for curve in curves if curve.calibration is not None]
    (low, high), (fewest, most) = curves[0].epsilon_range, curves[0].records_range
    return (
        f"for both models and neighbour relations, eps {low:g} to {high:g}, {fewest:g} to {most:g} records; misfit "
        f"{min(misfits):.1f} to {max(misfits):.1f} points of accuracy"
    )
