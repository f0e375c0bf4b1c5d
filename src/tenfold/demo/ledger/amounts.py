"""Money as whole numbers of a currency's smallest unit, and as people write it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_AMOUNT = 1_000_000_000
"""Most that one deposit, withdrawal or transfer moves, in smallest units."""

MAX_BALANCE = 1_000_000_000_000
"""Most that a deposit may leave on a wallet, in smallest units.

A transfer is checked against it before the debit, but its credit is never refused: the money has left
the sender. So credits under way may go beyond it. 9,000 full wallets would have to be sent to one
wallet at one moment to reach 2**53, above which JavaScript loses units, and nine million to reach 2**63.
"""

_WRITTEN = re.compile(r"([0-9]{1,12})(?:[.,]([0-9]{1,4}))?")


@dataclass(frozen=True, slots=True)
class Currency:
    """digits: how many decimal places people write: 2 for EUR, 0 for JPY."""

    code: str
    name: str
    digits: int


def parse_amount(text: str, currency: Currency) -> int | None:
    """Smallest units of an amount as people write it ("12.5", "12,50"); None when it is not one, or not exact."""
    found = _WRITTEN.fullmatch(text.strip())
    if not found or len(found[2] or "") > currency.digits:
        return None
    # The digits without the point are the units; 12.5 has one decimal place to be filled with 0.
    return int(found[1] + (found[2] or "").ljust(currency.digits, "0"))


def format_amount(amount: int, currency: Currency) -> str:
    """As people read it: "1,234.50 EUR"; with a sign when negative."""
    whole, rest = divmod(abs(amount), 10**currency.digits)
    decimals = f".{rest:0{currency.digits}d}" if currency.digits else ""
    return f"{'−' if amount < 0 else ''}{whole:,}{decimals} {currency.code}"
