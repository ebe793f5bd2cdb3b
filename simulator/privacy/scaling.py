"""Scaling of features by constants that are declared to be public."""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data


class PublicScaler(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Subtract a centre and divide by a scale that are public knowledge: nothing is read from the records.

    Parameters
    ----------
    centre : float or array of float, shape (d,)
        What is subtracted, in the features' units.
    scale : float or array of float, shape (d,)
        What is divided by, > 0.

    Examples
    --------
    >>> PublicScaler(centre=[50.0, 10.0], scale=[20.0, 5.0]).fit_transform([[70.0, 5.0]]).tolist()
    [[1.0, -1.0]]
    """

    def __init__(self, centre: ArrayLike = 0.0, scale: ArrayLike = 1.0) -> None:
        self.centre = centre
        self.scale = scale

    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> Self:
        """Check that there is one constant for each column of `X`, or one for all.

        Raises
        ------
        ValueError
            If a constant is not finite, a scale is not positive, or their number is not that of the columns.
        """
        n_features = validate_data(self, X, dtype=np.float64).shape[1]
        for name, positive in (("centre", False), ("scale", True)):
            constants = np.asarray(getattr(self, name), dtype=float)
            if constants.shape not in ((), (n_features,)):
                raise ValueError(
                    f"{name} must be one number or one for each of {n_features} columns, found shape {constants.shape}"
                )
            if not np.isfinite(constants).all() or (positive and not (constants > 0).all()):
                raise ValueError(f"{name} must be {'positive and ' * positive}finite, found {constants.tolist()}")
        self.is_fitted_ = True
        return self

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Scaled records, shape (N, d)."""
        check_is_fitted(self)
        records = validate_data(self, X, reset=False, dtype=np.float64)
        return (records - np.asarray(self.centre)) / np.asarray(self.scale)
