"""Private training of the versions, and what it costs the owners."""

from simulator.privacy.accounting import Guarantee, epsilon_spent
from simulator.privacy.audit import Audit, AuditPoint, audit
from simulator.privacy.classifier import PrivacyWarning, PrivateLogisticRegression, PrivateSVM
from simulator.privacy.gradient import GradientDescent
from simulator.privacy.perturbation import Perturbation
from simulator.privacy.scaling import PublicScaler
from simulator.privacy.training import plan_training, train

__all__ = [
    "Audit",
    "AuditPoint",
    "GradientDescent",
    "Guarantee",
    "Perturbation",
    "PrivacyWarning",
    "PrivateLogisticRegression",
    "PrivateSVM",
    "PublicScaler",
    "audit",
    "epsilon_spent",
    "plan_training",
    "train",
]
