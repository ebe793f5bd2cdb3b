"""Private training of the versions, and what it costs the owners."""

from simulator.privacy.accounting import Guarantee, epsilon_spent, group_privacy
from simulator.privacy.accounts import PrivacyAccounts
from simulator.privacy.audit import Audit, AuditPoint, audit
from simulator.privacy.classifier import PrivacyWarning, PrivateLogisticRegression, PrivateSVM
from simulator.privacy.gradient import CountedDescent, GradientDescent
from simulator.privacy.perturbation import Perturbation
from simulator.privacy.scaling import PublicScaler
from simulator.privacy.training import plan_training, train

__all__ = [
    "Audit",
    "AuditPoint",
    "CountedDescent",
    "GradientDescent",
    "Guarantee",
    "Perturbation",
    "PrivacyAccounts",
    "PrivacyWarning",
    "PrivateLogisticRegression",
    "PrivateSVM",
    "PublicScaler",
    "audit",
    "epsilon_spent",
    "group_privacy",
    "plan_training",
    "train",
]
