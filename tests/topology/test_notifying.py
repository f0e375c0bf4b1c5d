"""Addresses of webhooks and of people: what is safe to speak to, and what is refused before anything is sent. Edge."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenfold.errors import ConfigError
from tenfold.topology.load import load
from tenfold.topology.notifying import http_address, is_mail_address

FILE = """
[platform]
name = "ledger"
[app]
command = "true"
[database.shards]
shard_0 = { url = "sqlite:///var/shard_0.db" }
[notify.webhook]
url = "${WEBHOOK_URL}"
secret = "${WEBHOOK_SECRET}"
"""
SECRET = "5up3r5ecret-hunter2"


def loaded(root: Path, url: str, secret: str = SECRET) -> None:
    file = root / "tenfold.toml"
    file.write_text(FILE)
    load(file, environ={"WEBHOOK_URL": url, "WEBHOOK_SECRET": secret})


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("http://pager.example/hunter2", "plain http"),
        ("http://10.0.0.5/hunter2", "plain http"),
        ("http://127.0.0.1.evil.example/hunter2", "plain http"),
        ("http://localhost.evil.example/hunter2", "plain http"),
        ("ftp://pager.example/hunter2", "https://"),
        ("pager.example/hunter2", "https://"),
        ("https:///hunter2", "names no host"),
        ("https://*.example/hunter2", "names no host"),
        ("https://[fe80::1%25eth0]/hunter2", "names no host"),
        ("https://pager.example:0/hunter2", "names no host"),
        ("https://pager.example:99999/hunter2", "not the address"),
        ("https://[::1/hunter2", "not the address"),
        ("https://ann:hunter2@pager.example/", "account"),
        ("https://pager.example/hunter2#x", "fragment"),
        ("https://pager.example/hunter2 x", "space"),
        ("https://pager.example/hunter2\r\nX-Evil: 1", "space"),
        ("https://pager.example/" + "hunter2" * 400, "too long"),
    ],
)
def test_an_address_that_is_not_safe_is_refused_and_never_shown(tmp_path: Path, url: str, wrong: str) -> None:
    with pytest.raises(ConfigError) as refused:
        loaded(tmp_path, url)
    text = str(refused.value)
    assert text.startswith("tenfold.toml: notify.webhook.url: what it refers to ") and wrong in text
    assert "hunter2" not in text and "evil" not in text


def test_a_key_that_can_be_guessed_is_refused_and_never_shown(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="openssl rand -hex 32") as refused:
        loaded(tmp_path, "https://pager.example/", "hunter2")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "authority"),
    [
        ("https://pager.example/a/b?c=d", "pager.example"),
        ("https://10.0.0.5:8443", "10.0.0.5:8443"),
        ("http://127.9.9.9:8080/", "127.9.9.9:8080"),
        ("http://localhost/x", "localhost"),
        ("http://[::1]:81/x", "[::1]:81"),
    ],
)
def test_https_anywhere_and_http_on_this_machine_are_taken(tmp_path: Path, url: str, authority: str) -> None:
    loaded(tmp_path, url)
    address = http_address(url)
    assert address.authority == authority
    assert "b?c=d" not in repr(address), "its path is a secret"


@pytest.mark.parametrize("text", ["a@example.com", "o'brien+page@mail.example", "x@localhost"])
def test_a_plain_mail_address_is_one(text: str) -> None:
    assert is_mail_address(text)


@pytest.mark.parametrize(
    "text",
    ["", "@", "a@", "@b", "a b@c.example", "a@b\n.example", "a@b.example\r\nBcc: c@d.example", "<a@b.example>",
     "a@b.example,c@d.example", '"a\\"b"@c.example', "ä@example.com", "a@ä.example", ".a@example.com",
     "a" * 250 + "@b.example", "a@b@c..example", "a@[127.0.0.1]", "a@*.example"],
)  # fmt: skip
def test_what_a_mail_server_could_take_for_more_than_one_plain_address_is_none(text: str) -> None:
    assert not is_mail_address(text)
