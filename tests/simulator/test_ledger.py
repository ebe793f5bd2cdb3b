"""The books: they add up over rounds, and refuse a round in which money appears or disappears."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest

from simulator import Market, MarketConfig
from simulator.ledger import TOLERANCE, Ledger, MoneyError
from simulator.privacy import PrivacyAccounts
from simulator.records import Purchases, Sales, Settlement, Versions

PAID = np.array([6.0, 4.0, 0.0])
PAYMENTS = np.array([[3.0, 0.0], [1.0, 5.0]])
BOUGHT = np.array([[True, False], [True, True]])


def sales(paid: np.ndarray = PAID) -> Sales:
    versions = np.where(paid > 0, 0, -1)
    return Sales(versions, paid, np.ones(2, dtype=bool), np.zeros(len(paid), dtype=int), np.full((len(paid), 2), 10.0))


def ledger(n_buyers: int = 3, n_owners: int = 2) -> Ledger:
    return Ledger(n_buyers, PrivacyAccounts([0.5, 1.0], 1e-5, np.full(n_owners, np.inf)))


def releases(bought: np.ndarray = BOUGHT) -> tuple[Purchases, Versions]:
    """Both versions, the first one by a Gaussian mechanism."""
    nothing = np.zeros(2)
    purchases = Purchases(bought, bought.astype(float), nothing, nothing)
    return purchases, Versions(bought.any(axis=1), nothing, nothing, nothing, np.array([True, False]))


def settlement(payments: np.ndarray = PAYMENTS, profit: float = 1.0) -> Settlement:
    return Settlement(payments, profit)


def book(books: Ledger, *rounds: tuple[Sales, Settlement]) -> None:
    """One round of one broker, or of several."""
    purchases, versions = (
        releases(np.zeros((2, len(books.owners)), dtype=bool)) if len(books.owners) == 1 else releases()
    )
    trades = [SimpleNamespace(sales=s, settlement=t, purchases=purchases, versions=versions) for s, t in rounds]
    books.book(trades)  # type: ignore[arg-type]


def test_two_rounds_add_up() -> None:
    books = ledger()
    book(books, (sales(), settlement()))
    book(books, (sales(), settlement()))
    assert books.buyers.tolist() == [12.0, 8.0, 0.0]
    assert books.owners.tolist() == [8.0, 10.0]
    assert books.brokers.tolist() == [2.0]
    assert books.privacy.epsilon.tolist() == [3.0, 2.0]
    assert books.privacy.gaussian.tolist() == [[2, 0], [0, 0]]
    assert books.privacy.other.tolist() == [[0, 0], [2, 2]]


def test_the_broker_may_lose() -> None:
    books = ledger()
    book(books, (sales(np.zeros(3)), settlement(profit=-9.0)))
    assert books.brokers.tolist() == [-9.0]


@pytest.mark.parametrize("cent", [0.01, -0.01, 1e-6, -1e-6])
def test_a_missing_cent(cent: float) -> None:
    with pytest.raises(MoneyError, match=r"buyers paid 10\.0.*owners received 9\.0.*is missing"):
        book(ledger(), (sales(), settlement(profit=1.0 + cent)))


def test_a_cent_paid_by_nobody() -> None:
    payments = PAYMENTS.copy()
    payments[0, 1] += 0.01
    with pytest.raises(MoneyError, match="is missing"):
        book(ledger(), (sales(), settlement(payments)))


@pytest.mark.parametrize("paid", [0.0, 10.0, 1e9])
def test_rounding_is_forgiven_up_to_the_stated_share_of_revenue(paid: float) -> None:
    """1e-9 of the revenue, and of one unit of money where the revenue is smaller."""
    allowed = TOLERANCE * max(1.0, paid)
    assert TOLERANCE == 1e-9
    books = ledger(1, 1)
    book(books, (sales(np.array([paid])), settlement(np.array([[0.0]]), paid + 0.5 * allowed)))
    with pytest.raises(MoneyError):
        book(books, (sales(np.array([paid])), settlement(np.array([[0.0]]), paid + 2 * allowed)))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_amounts_that_are_not_finite(bad: float) -> None:
    broken = PAYMENTS.copy()
    broken[1, 0] = bad
    for entry in (
        (sales(), settlement(broken)),
        (sales(), settlement(profit=bad)),
        (sales(np.array([6.0, 4.0, bad])), settlement()),
    ):
        with pytest.raises(MoneyError):
            book(ledger(), entry)


def test_not_a_number_on_both_sides() -> None:
    """NaN compares as neither above nor below the tolerance: it is caught all the same."""
    with pytest.raises(MoneyError):
        book(ledger(), (sales(np.full(3, np.nan)), settlement(PAYMENTS * np.nan, np.nan)))


def test_a_negative_payment() -> None:
    """The sum is right, but one owner pays the other."""
    payments = np.array([[-1.0, 4.0], [1.0, 5.0]])
    with pytest.raises(MoneyError, match=r"paid -1\.0, less than nothing"):
        book(ledger(), (sales(), settlement(payments)))


def test_a_refused_round_leaves_no_entry() -> None:
    books = ledger()
    with pytest.raises(MoneyError):
        book(books, (sales(), settlement(profit=5.0)))
    assert not books.buyers.any()
    assert not books.owners.any()
    assert not books.privacy.epsilon.any()
    assert books.brokers.tolist() == [0.0]


def test_a_market_with_a_leak_stops(make_config: Callable[..., MarketConfig]) -> None:
    """A settlement rule that loses a cent in a thousand cannot run a round."""
    market = Market(make_config())
    rule = market.broker.rule

    class Leaky(type(rule)):
        def settle(self, *args: object) -> Settlement:
            honest = super().settle(*args)
            return Settlement(honest.payments * 0.999, honest.profit)

    market.broker.rule = Leaky()
    with pytest.raises(MoneyError, match="is missing"):
        market.step()
    assert len(market.frame("rounds")) == 0


def test_the_books_of_a_market(make_config: Callable[..., MarketConfig]) -> None:
    market = Market(make_config(rounds=3, broker={"commission": 0.2}))
    market.run()
    sold, owners, rounds = market.frame("sales"), market.frame("owners"), market.frame("rounds")
    paid = sold.groupby("buyer")["price"].sum().reindex(range(15), fill_value=0.0)
    # Three terms a sum: the order costs an ulp.
    assert market.ledger.buyers == pytest.approx(paid.to_numpy(), rel=1e-12)
    assert market.ledger.owners == pytest.approx(owners.groupby("owner")["paid"].sum().to_numpy(), rel=1e-12)
    assert market.ledger.privacy.epsilon == pytest.approx(
        owners.groupby("owner")["epsilon"].sum().to_numpy(), rel=1e-12
    )
    assert market.ledger.brokers.sum() == pytest.approx(rounds["broker_profit"].sum(), rel=1e-12)
    assert market.ledger.brokers.sum() > 0
