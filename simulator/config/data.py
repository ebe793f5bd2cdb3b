"""Configuration of the data: which records the owners hold."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from simulator.config.section import Count, Section

#: Sources of data that a scenario can name, and what they are.
DATASETS = {
    "breast_cancer": "569 records, 30 features, 2 classes (scikit-learn)",
    "iris": "150 records, 4 features, 3 classes (scikit-learn)",
    "digits": "1797 records, 64 features, 10 classes (scikit-learn)",
    "synthetic": "Gaussian clusters of the size that [data] asks for",
    "values": "no records: each owner's Shapley value is drawn from its segment's `value`, no model is trained",
    "openml:NAME": "a data set of openml.org by name (needs the network)",
    "FILE.csv": "a file of numeric columns, of which `label` holds the classes",
}


class DataConfig(Section):
    """Which records the owners hold.

    Attributes
    ----------
    source : str
        A data set's name, "synthetic", "values", "openml:NAME", or the path of a CSV file.
    label : str, optional
        Column of a CSV file that holds the classes.
    records, features, classes, separation
        Size of a synthetic data set, and the distance of its clusters' centres from the origin in units of
        their deviation.
    """

    source: str = "breast_cancer"
    label: str | None = None
    records: Count = 1000
    features: Count = 10
    classes: Annotated[int, Field(ge=2, strict=True)] = 2
    separation: Annotated[float, Field(ge=0, strict=True, allow_inf_nan=False)] = 2.0

    def identity(self) -> dict[str, Any]:
        """What names the data set: its source without folders, and what else its records depend on."""
        parts = {"synthetic": ("records", "features", "classes", "separation")}.get(self.source, ())
        found = {"source": Path(self.source).name, **{name: getattr(self, name) for name in parts}}
        return found if self.label is None else {**found, "label": self.label}

    def known_classes(self) -> int:
        """Number of classes as far as it is known without reading the data, else 2."""
        if self.source == "synthetic":
            return self.classes
        return {"iris": 3, "digits": 10}.get(self.source, 2)

    def known_features(self) -> int:
        """Number of features as far as it is known without reading the data, else 1."""
        if self.source == "synthetic":
            return self.features
        return {"breast_cancer": 30, "iris": 4, "digits": 64}.get(self.source, 1)

    @field_validator("source")
    @classmethod
    def _known_source(cls, source: str) -> str:
        if source in DATASETS and not source.startswith(("openml:", "FILE")):
            return source
        if source.startswith("openml:") and source != "openml:":
            return source
        if source.endswith(".csv"):
            return str(Path(source))
        raise ValueError(f"found {source!r}; allowed are {', '.join(DATASETS)}")

    @model_validator(mode="after")
    def _label_where_needed(self) -> DataConfig:
        if self.source.endswith(".csv") and self.label is None:
            raise ValueError("label is missing; a CSV file needs the name of the column that holds the classes")
        if self.records < self.classes * 5 and self.source == "synthetic":
            raise ValueError(f"records: found {self.records}; allowed are at least 5 a class")
        return self
