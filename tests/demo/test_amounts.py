"""What people may type, and what becomes of it. Pure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.demo.ledger import forms
from tenfold.demo.ledger.amounts import MAX_AMOUNT, Currency, format_amount, parse_amount
from tenfold.demo.ledger.problems import Invalid

EURO, YEN, DINAR = Currency("EUR", "Euro", 2), Currency("JPY", "Yen", 0), Currency("KWD", "Kuwaiti dinar", 3)


@pytest.mark.parametrize(
    ("text", "currency", "units"),
    [
        ("12", EURO, 1200), ("12.5", EURO, 1250), ("12,50", EURO, 1250), (" 0.01 ", EURO, 1), ("007", EURO, 700),
        ("12.505", EURO, None), ("12.", EURO, None), (".5", EURO, None), ("1 000", EURO, None), ("-1", EURO, None),
        ("1e3", EURO, None), ("", EURO, None), ("NaN", EURO, None), ("1" * 13, EURO, None), ("٣", EURO, None),
        ("500", YEN, 500), ("500.0", YEN, None), ("0.001", DINAR, 1), ("0.0001", DINAR, None),
    ],
)  # fmt: skip
def test_an_amount_is_taken_exactly_or_not_at_all(text: str, currency: Currency, units: int | None) -> None:
    assert parse_amount(text, currency) == units


@given(st.integers(0, MAX_AMOUNT), st.sampled_from([EURO, YEN, DINAR]))
def test_what_is_shown_can_be_typed(units: int, currency: Currency) -> None:
    shown = format_amount(units, currency).removesuffix(f" {currency.code}")
    assert parse_amount(shown.replace(",", ""), currency) == units


def test_a_negative_amount_has_a_sign() -> None:
    assert format_amount(-123_456, EURO) == "−1,234.56 EUR"


@pytest.mark.parametrize("email", ["ada@example.org", "a+b.c_d'e@x-y.example.org", " ADA@EXAMPLE.ORG\n"])
def test_an_address_is_stored_in_one_spelling(email: str) -> None:
    given_form = {"email": email, "name": "A", "password": "0123456789", "currency": "eur"}
    assert forms.sign_up(given_form, {"EUR": EURO}).email == email.strip().lower()


@pytest.mark.parametrize(
    "email", ["", "ada", "@x.org", "a@b", "a b@x.org", "a@x..org", "ä@x.org", "a@x.org" * 50, "a@b@c.de"]
)
def test_what_is_no_address_is_refused(email: str) -> None:
    with pytest.raises(Invalid) as refused:
        forms.sign_up({"email": email, "name": "A", "password": "0123456789", "currency": "EUR"}, {"EUR": EURO})
    assert refused.value.fields.keys() == {"email"}


@given(st.text(max_size=300))
def test_a_line_has_no_control_characters_whatever_is_typed(name: str) -> None:
    try:
        cleaned, _ = forms.profile({"name": name})
    except Invalid:
        return
    assert 0 < len(cleaned) <= forms.MAX_NAME and cleaned == cleaned.strip()
    assert all(ord(character) >= 32 for character in cleaned)
