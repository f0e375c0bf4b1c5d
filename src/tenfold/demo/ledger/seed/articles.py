"""Posts, pages and comments of the first run. Pure."""

from __future__ import annotations

POSTS = [
    (
        "Welcome to the ledger",
        "This is a small, real site: accounts, money, and words. It runs as three backends behind one balancer,"
        " over three shards, and one file describes all of it.\n\n"
        "Sign up, put some money into your wallet, and send a little to someone else. The two of you may live on"
        " different shards; you will not notice.",
    ),
    (
        "How money crosses shards",
        "A transfer takes three steps. It leaves your wallet, together with a note of where it is going. It"
        " arrives in the other wallet, together with a note that it has. Then the first note is crossed out.\n\n"
        "Whoever fails in between, the notes tell the next one what is left to do. Money is never made and never"
        " lost; the sum of all entries is zero, always.",
    ),
    (
        "Why amounts are whole numbers",
        "Ten cents and twenty cents are thirty cents. In binary fractions they are not quite.\n\n"
        "So we count cents, and yen, and fils, and write the point only when people look.",
    ),
    (
        "A shard went away on Tuesday",
        "For four minutes one of three shards did not answer. Two thirds of the accounts noticed nothing; the rest"
        " were asked to try again. Transfers on their way waited, and arrived when it was back.\n\n"
        "Nothing was lost, and nobody was paid twice.",
    ),
    (
        "Tables for everybody",
        "Currencies are the same for everybody, so every shard holds them all. Posts and pages are few, so they"
        " live together in one place. Everything else belongs to a person, and lives with that person.",
    ),
]
PAGES = [
    (
        "about",
        "About this site",
        "The ledger is the example platform of Tenfold. Its code is in the package tenfold.demo.ledger and uses"
        " nothing but the public API: connect, execute, transaction.\n\nThe people here are made up.",
    ),
    (
        "help",
        "Help",
        "A deposit puts money into your wallet, a withdrawal takes it out, a transfer sends it to somebody else"
        " with the same currency.\n\nA form that is sent twice is done once.",
    ),
    (
        "terms",
        "Terms",
        "This is a demonstration. The money is not real, and whoever runs this site may empty it at any time.",
    ),
]
REMARKS = (
    "Clear at last. Thank you!", "I counted it again, and it is still zero.", "Which shard am I on?",
    "Could we have this for invoices too?", "My grandmother kept books like that.", "Yen without decimals: finally.",
    "I sent the same form twice, on purpose. It was done once.",
)  # fmt: skip
