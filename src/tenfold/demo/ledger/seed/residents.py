"""The people of the first run and what they did: the same for the same number, on every machine. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

PASSWORD = "correct horse battery staple"  # noqa: S105  # everybody may know it: it is shown at the end of the set-up
FIRST_DAY_MS = 1_735_689_600_000  # 2025-01-01
DAY_MS = 86_400_000
CURRENCIES = {"CHF": ("Swiss franc", 2), "EUR": ("Euro", 2), "GBP": ("Pound sterling", 2), "JPY": ("Yen", 0),
              "KWD": ("Kuwaiti dinar", 3), "USD": ("US dollar", 2)}  # fmt: skip
"""Code → name and decimal places."""

_FIRST = [
    "Ada", "Alan", "Amina", "Barbara", "Bela", "Chen", "Claude", "Dorothy", "Edsger", "Elena", "Emmy", "Farid",
    "Grace", "Hedy", "Ines", "Ivan", "Jean", "Joan", "Kofi", "Katherine", "Lin", "Maria", "Mei", "Niklaus",
    "Noor", "Olga", "Paolo", "Radia", "Ravi", "Rosa", "Sofia", "Tariq", "Tove", "Ursula", "Vera", "Wanda", "Yuki",
    "Zora",
]  # fmt: skip
_LAST = [
    "Abara", "Arden", "Bauer", "Byron", "Castillo", "Diaz", "Easley", "Fischer", "Garcia", "Haddad", "Hopper",
    "Ito", "Jansen", "Kowalski", "Lamarr", "Larsen", "Lovelace", "Meyer", "Mirza", "Moreau", "Nakamura", "Novak",
    "Okafor", "Perlman", "Quist", "Rossi", "Sato", "Silva", "Tanaka", "Ueda", "Varga", "Weber", "Xu", "Yilmaz",
    "Zhao",
]  # fmt: skip
_CITIES = [
    "Accra", "Basel", "Cork", "Dresden", "Évora", "Graz", "Haifa", "Izmir", "Kyoto", "Lima", "Lyon", "Malmö",
    "Oslo", "Porto", "Quito", "Riga", "Turin",
]  # fmt: skip
_ABOUT = ("Counts twice.", "Sails on Sundays.", "Bakes bread.", "Reads ledgers for fun.", "Plays the viola.", "")
_INCOME, _SPENDING = ("Salary", "Savings", "Sold the old bike", "Refund"), ("Rent", "Cash", "To my bank")
_GIFTS = ("Lunch", "Concert tickets", "Thank you!", "Half of the taxi", "Birthday")


class Chance(Protocol):
    """What is asked of random.Random."""

    def randint(self, a: int, b: int) -> int: ...

    def random(self) -> float: ...


@dataclass(slots=True)
class Event:
    """Something that changed a wallet. other: the number of the other resident, for a transfer."""

    at_ms: int
    kind: Literal["deposit", "withdrawal", "sent", "received"]
    amount: int
    note: str
    other: int = 0

    @property
    def signed(self) -> int:
        """What it adds to the wallet."""
        return self.amount if self.kind in ("deposit", "received") else -self.amount


@dataclass(slots=True)
class Resident:
    """A seeded user; number counts from 1."""

    number: int
    name: str
    currency: str
    joined_ms: int
    meta: dict[str, str]
    events: list[Event] = field(default_factory=list)

    @property
    def email(self) -> str:
        """Where they sign in with PASSWORD."""
        return email_of(self.number)

    @property
    def balance(self) -> int:
        """What the wallet holds after all events."""
        return sum(event.signed for event in self.events)


def email_of(number: int) -> str:
    """The address of a resident; .example never belongs to anybody."""
    return f"user{number:05d}@ledger.example"


def resident(number: int, chance: Chance) -> Resident:
    """One resident with deposits and withdrawals; `chance` is seeded with the number."""
    one = Resident(
        number,
        name=f"{_pick(_FIRST, chance)} {_pick(_LAST, chance)}",
        currency="EUR" if chance.random() < 0.7 else _pick(sorted(CURRENCIES), chance),
        joined_ms=FIRST_DAY_MS + chance.randint(0, 200 * DAY_MS),
        meta={"city": _pick(_CITIES, chance)},
    )
    about = _pick(_ABOUT, chance)
    if about:
        one.meta["about"] = about
    at_ms = one.joined_ms
    for _ in range(chance.randint(2, 4)):
        at_ms += chance.randint(DAY_MS, 20 * DAY_MS)
        one.events.append(Event(at_ms, "deposit", 100 * chance.randint(200, 9_000), _pick(_INCOME, chance)))
    for _ in range(chance.randint(0, 2)):
        at_ms += chance.randint(DAY_MS, 20 * DAY_MS)
        # At most a quarter each time, so that nothing is ever overdrawn.
        one.events.append(
            Event(at_ms, "withdrawal", 1 + one.balance // 1000 * chance.randint(10, 250), _pick(_SPENDING, chance))
        )
    return one


def street(numbers: Sequence[int], chances: Sequence[Chance]) -> list[Resident]:
    """Neighbours: residents of these numbers, where every third sends money to the next with the same currency."""
    people = [resident(number, chance) for number, chance in zip(numbers, chances, strict=True)]
    for sender, receiver, chance in zip(people, people[1:], chances, strict=False):
        if sender.number % 3 == 1 and sender.currency == receiver.currency:
            at_ms = max(sender.events[-1].at_ms, receiver.events[-1].at_ms) + DAY_MS
            amount, note = 1 + sender.balance // chance.randint(5, 50), _pick(_GIFTS, chance)
            sender.events.append(Event(at_ms, "sent", amount, note, receiver.number))
            receiver.events.append(Event(at_ms, "received", amount, note, sender.number))
    return people


def _pick(items: Sequence[str], chance: Chance) -> str:
    return items[chance.randint(0, len(items) - 1)]
