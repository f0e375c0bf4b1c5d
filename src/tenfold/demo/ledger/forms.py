"""What people may type: each function returns the cleaned values or raises Invalid naming the fields. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from tenfold.demo.ledger.amounts import MAX_AMOUNT, Currency, format_amount
from tenfold.demo.ledger.problems import Invalid

META = {"city": "City", "about": "About me", "website": "Website"}
"""The extra facts of a profile that the pages ask for: name → label."""

OPTIONS = {
    "site_title": "Name of the site",
    "site_tagline": "One line below it",
    "sign_ups": "New accounts",
    "comments": "Comments",
}
SWITCHES = ("sign_ups", "comments")
MIN_PASSWORD, MAX_PASSWORD = 10, 200
MAX_NAME, MAX_NOTE, MAX_META, MAX_TITLE, MAX_BODY, MAX_COMMENT = 80, 200, 500, 150, 20_000, 2_000
MAX_EMAIL = 254

# One @, no spaces, a dot in the domain, printable ASCII: whether it exists, only a mail tells.
_EMAIL = re.compile(r"[!-?A-~]+@[a-z0-9-]+(\.[a-z0-9-]+)+")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_WEBSITE = re.compile(r"https?://[^\s\"'<>]+")
_KEY = re.compile(r"[!-~]{1,100}")
_ID = re.compile(r"[0-9]{1,19}")


@dataclass(frozen=True, slots=True)
class SignUp:
    """A new account, as asked for."""

    email: str
    name: str
    password: str
    currency: str


def clean_email(text: str) -> str:
    """As it is stored: without outer blanks, lower-case. So two spellings of one address are one account."""
    return text.strip().lower()


def sign_up(values: Mapping[str, str], currencies: Mapping[str, Currency]) -> SignUp:
    """Check an application for an account. Raises Invalid."""
    wrong: dict[str, str] = {}
    email = clean_email(values.get("email", ""))
    if len(email) > MAX_EMAIL or not _EMAIL.fullmatch(email):
        wrong["email"] = "Write an e-mail address, such as ada@example.org."
    name = _line(values, "name", MAX_NAME, wrong)
    password = values.get("password", "")
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        wrong["password"] = f"Use {MIN_PASSWORD} to {MAX_PASSWORD} characters."
    currency = values.get("currency", "").strip().upper()
    if currency not in currencies:
        wrong["currency"] = f"Choose one of {', '.join(currencies)}."
    _raise(wrong)
    return SignUp(email, name, password, currency)


def profile(values: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """(name, extra facts) of a profile; an empty fact is left out. Raises Invalid."""
    wrong: dict[str, str] = {}
    name = _line(values, "name", MAX_NAME, wrong)
    meta = {field: text for field in META if (text := _line(values, field, MAX_META, wrong, empty=True))}
    if "website" in meta and not _WEBSITE.fullmatch(meta["website"]):
        wrong["website"] = "Write an address that begins with https://."
    _raise(wrong)
    return name, meta


def money(amount: int | None, note: str, currency: Currency) -> tuple[int, str]:
    """(amount in smallest units, note); amount is None when what was given is none. Raises Invalid."""
    wrong: dict[str, str] = {}
    if amount is None or not 0 < amount <= MAX_AMOUNT:
        wrong["amount"] = f"Write an amount above 0 and up to {format_amount(MAX_AMOUNT, currency)}."
    cleaned = _line({"note": note}, "note", MAX_NOTE, wrong, empty=True)
    _raise(wrong)
    return amount or 0, cleaned


def article(values: Mapping[str, str], *, with_slug: bool) -> tuple[str, str, str]:
    """(title, body, slug) of a post or page; the slug is "" for a post. Raises Invalid."""
    wrong: dict[str, str] = {}
    title = _line(values, "title", MAX_TITLE, wrong)
    body = _block(values, "body", MAX_BODY, wrong)
    slug = values.get("slug", "").strip().lower() if with_slug else ""
    if with_slug and not (len(slug) <= 60 and _SLUG.fullmatch(slug)):
        wrong["slug"] = "Use up to 60 small letters, digits and single hyphens."
    _raise(wrong)
    return title, body, slug


def comment(values: Mapping[str, str]) -> str:
    """The text of a comment. Raises Invalid."""
    wrong: dict[str, str] = {}
    body = _block(values, "body", MAX_COMMENT, wrong)
    _raise(wrong)
    return body


def options(values: Mapping[str, str]) -> dict[str, str]:
    """The options of the site that `values` names. Raises Invalid."""
    wrong: dict[str, str] = {}
    known = [name for name in OPTIONS if name in values]
    chosen = {name: _line(values, name, MAX_NAME, wrong, empty=name == "site_tagline") for name in known}
    for name in SWITCHES:
        if name in chosen and chosen[name] not in ("open", "closed"):
            wrong[name] = "Write open or closed."
    for name in values:
        if name not in OPTIONS:
            wrong[name] = f"There is no such option; there are {', '.join(OPTIONS)}."
    _raise(wrong)
    return chosen


def request_key(given: str | None) -> str | None:
    """The Idempotency-Key of a request, or None without one. Raises Invalid."""
    if given is None or not given.strip():
        return None
    if not _KEY.fullmatch(given.strip()):
        raise Invalid(request_key="Use 1 to 100 printable ASCII characters without blanks.")
    return given.strip()


def row_id(given: str | None, field: str = "id") -> int | None:
    """An id as JSON and addresses carry it (decimal text); None without one. Raises Invalid."""
    if not given:
        return None
    if not _ID.fullmatch(given) or int(given) >= 2**63:
        raise Invalid(**{field: "This is no id."})
    return int(given)


def _line(values: Mapping[str, str], field: str, most: int, wrong: dict[str, str], *, empty: bool = False) -> str:
    cleaned = " ".join(_CONTROL.sub(" ", values.get(field, "")).split())
    if len(cleaned) > most:
        wrong[field] = f"Use at most {most} characters."
    elif not cleaned and not empty:
        wrong[field] = "Please fill this in."
    return cleaned


def _block(values: Mapping[str, str], field: str, most: int, wrong: dict[str, str]) -> str:
    cleaned = _CONTROL.sub(" ", values.get(field, "").replace("\r\n", "\n")).strip()
    if len(cleaned) > most:
        wrong[field] = f"Use at most {most:,} characters."
    elif not cleaned:
        wrong[field] = "Please fill this in."
    return cleaned


def _raise(wrong: dict[str, str]) -> None:
    if wrong:
        raise Invalid(**wrong)
