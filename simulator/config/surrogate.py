"""Which accuracy curve goes with a broker's training, and whether it fits the market."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulator.config.broker import BrokerConfig, TrainingConfig
from simulator.config.data import DataConfig
from simulator.privacy.surrogate import AccuracyCurve

if TYPE_CHECKING:
    from simulator.config.market import MarketConfig

#: Data sets of which curves come with the package.
SHIPPED_DATA = [DataConfig(source=name).identity() for name in ("breast_cancer", "iris", "digits", "synthetic")]


def check_curve(market: MarketConfig, broker: BrokerConfig, curve: AccuracyCurve) -> None:
    """Refuse a curve that was calibrated for other data, another training or other epsilons than the market's."""
    section, data = broker.section, market.data
    training = broker.training
    drawn = data.source == "values"
    if drawn and training.records_per_owner is None:
        raise ValueError(
            f"{section}.training.records_per_owner is missing; with data.source = 'values' the surrogate takes it for "
            "the number of records of each owner"
        )
    if not drawn and training.records_per_owner is not None:
        raise ValueError(
            f"{section}.training.records_per_owner: found {training.records_per_owner}; allowed with data.source = "
            "'values' only, elsewhere the owners' records are counted"
        )
    low, high = curve.epsilon_range
    for epsilon in broker.epsilons:
        if not low <= epsilon <= high:
            raise ValueError(
                f"{section}.epsilons: found {epsilon:g}; the accuracy curve was calibrated for {low:g} to {high:g}"
            )
    total = market.n_owners * (training.records_per_owner or 0)
    if total > curve.records_range[1]:
        raise ValueError(
            f"{section}.training.records_per_owner: found {training.records_per_owner}, which makes {total} records in "
            f"all; the accuracy curve was calibrated for up to {curve.records_range[1]:g}"
        )
    if curve.calibration is None:
        return
    calibrated = curve.calibration
    if training.unit == "owner" and market.n_owners != calibrated.owners:
        raise ValueError(
            f"owners: found {market.n_owners} with {section}.training.unit = 'owner'; the accuracy curve was "
            f"calibrated for {calibrated.owners}, and how much noise weighs depends on their number"
        )
    # A setting that the file does not know had its default when the file was written.
    defaults = {name: field.default for name, field in TrainingConfig.model_fields.items()}
    pairs: list[tuple[str, Any, Any]] = [(f"{section}.delta", broker.delta, calibrated.delta)]
    for name, found in training.settings().items():
        pairs.append((f"{section}.training.{name}", found, calibrated.training.get(name, defaults[name])))
    if not drawn:
        pairs.append(("data", words(data.identity()), words(calibrated.data)))
    for name, found, allowed in pairs:
        if found != allowed:
            raise ValueError(f"{name}: found {found!r}; the accuracy curve was calibrated for {allowed!r}")


def words(identity: dict[str, Any]) -> str:
    """A data set's identity for a message."""
    return ", ".join(f"{name} = {value}" for name, value in identity.items())
