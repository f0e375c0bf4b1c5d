"""`tenfold notify` as an operator meets it, with and without an agent. Edge."""

from __future__ import annotations

import io
import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from tenfold.audit.trail import Trail
from tenfold.cli.main import main
from tenfold.notify.outbox import Outbox
from tenfold.runtime.agent_notify import Notifier
from tenfold.runtime.place import Place as RunPlace
from tenfold.topology.load import load
from tests.notify.receivers import Ca, Receiver, mail_server, receiver
from tests.notify.samples import SECRET, notice
from tests.runtime.agents import LoneAgent
from tests.runtime.platforms import ENVIRONMENT, TENFOLD
from tests.support import wait_for

WEBHOOK = '[notify.webhook]\nurl = "${WEBHOOK_URL}"\nsecret = "${WEBHOOK_SECRET}"\nca = "ca.pem"\n'
EMAIL = (
    '[notify.email]\nserver = "localhost"\nport = {port}\nca = "ca.pem"\n'
    'sender = "tenfold@example.com"\nto = ["ann@example.com"]\n'
)


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Ca:
    return Ca.make(tmp_path_factory.mktemp("ca") / "ca.pem")


@pytest.fixture
def hook(ca: Ca) -> Iterator[Receiver]:
    with receiver(ca.serves()) as there:
        yield there


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended, and what it said."""

    returncode: int
    stdout: str
    stderr: str


class Place:
    """A directory with a file and an outbox."""

    def __init__(self, root: Path, ca: Ca, url: str, more: str = WEBHOOK) -> None:
        self.root, self.environment = root, {"WEBHOOK_URL": url, "WEBHOOK_SECRET": SECRET}
        (root / "ca.pem").write_bytes(ca.path.read_bytes())
        (root / "tenfold.toml").write_text(
            '[platform]\nname = "ledger"\n[app]\ncommand = "true"\n'
            f'[database.shards]\nshard_0 = {{ url = "sqlite:///var/shard_0.db" }}\n{more}'
        )
        self.outbox = Outbox(root / "var/agent/outbox.db")

    def run(self, *arguments: str) -> Ended:
        """The command, in this process: another one costs a second each time."""
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            for name, value in self.environment.items():
                patch.setenv(name, value)
            code = main(["notify", *arguments, "--file", str(self.root / "tenfold.toml")])
        text = out.getvalue() + err.getvalue()
        assert SECRET not in text and "S3CRET" not in text
        return Ended(code, out.getvalue(), err.getvalue())


def test_a_test_notice_arrives_and_is_said_so(tmp_path: Path, ca: Ca, hook: Receiver) -> None:
    with mail_server(starttls=ca.serves()) as mails:
        place = Place(tmp_path, ca, hook.url(), WEBHOOK + EMAIL.format(port=mails.port))
        done = place.run("test")
        assert done.returncode == 0 and done.stdout == (
            "email    localhost: delivered\nwebhook  localhost: delivered\n"
        )  # fmt: skip
        assert json.loads(hook.received[0].body)["source"] == "test" and len(mails.mails) == 1
        assert place.run("test", "email").returncode == 0
    assert len(hook.received) == 1, "the one that was asked for alone"


def test_a_test_that_fails_says_why_and_what_to_do(tmp_path: Path, ca: Ca, hook: Receiver) -> None:
    hook.does = [403]
    with mail_server() as mails:  # without TLS
        place = Place(tmp_path, ca, hook.url(), WEBHOOK + EMAIL.format(port=mails.port))
        done = place.run("test")
        told = json.loads(place.run("test", "--json").stdout)["channels"]
    assert done.returncode == 1
    assert "email    localhost: failed: localhost offers no TLS" in done.stdout
    assert "webhook  localhost: failed: localhost answered 403 Forbidden\n         Try: " in done.stdout
    assert [(one["channel"], one["delivered"]) for one in told] == [("email", False), ("webhook", False)]


def test_a_channel_that_is_not_there_is_said_so(tmp_path: Path, ca: Ca, hook: Receiver) -> None:
    done = Place(tmp_path, ca, hook.url()).run("test", "slack")
    assert done.returncode == 1 and "no channel slack in tenfold.toml" in done.stderr and "Try:" in done.stderr
    alone = Place(tmp_path, ca, hook.url(), "").run("list")
    assert alone.returncode == 0 and "no channel is written" in alone.stdout
    assert not (tmp_path / "var/agent").exists(), "who looks makes nothing"


def test_without_an_agent_dead_letters_are_listed_and_sent_again_from_here(
    tmp_path: Path, ca: Ca, hook: Receiver
) -> None:
    hook.does = [410, 200]
    place = Place(tmp_path, ca, hook.url())
    place.outbox.put(notice(at_s=time.time() - 65))
    waiting = place.run("list")
    assert "waiting: 1:\n  -       critical  shard_1 is down  (1 min ago)" in waiting.stdout
    assert "No agent runs" in waiting.stdout
    first = place.run("retry", "--json")
    assert first.returncode == 1 and json.loads(first.stdout)["counts"]["dead"] == 1
    listed = place.run("list")
    assert "dead: 1:\n  webhook critical  shard_1 is down" in listed.stdout and "410 Gone" in listed.stdout
    assert "tenfold notify retry" in listed.stdout
    assert place.run("retry").returncode == 0
    assert "delivered: 1" in place.run("list").stdout
    assert len(hook.received) == 2 and len(set(hook.keys)) == 1
    trail = Trail(tmp_path / "var/audit.jsonl")
    assert [(one.did, one.about["letters"]) for one in trail.entries()] == [("notify.retry", 0), ("notify.retry", 1)]
    hook.does = [410]
    place.outbox.put(notice("another"))
    assert place.run("retry").returncode == 1 and place.run("drop", "slack").stdout == "no dead letter is forgotten\n"
    assert place.run("drop").stdout == "1 dead letter is forgotten\n" and "dead: 0" in place.run("list").stdout
    assert place.run("drop", "slak").returncode == place.run("retry", "slak").returncode == 1
    assert all("@" in one.who for one in trail.entries())


def test_the_agent_sends_what_any_process_puts_and_one_that_hangs_holds_up_no_other(
    tmp_path: Path, ca: Ca, hook: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiver(None, "hang") as hangs:
        (tmp_path / "ca.pem").write_bytes(ca.path.read_bytes())
        (tmp_path / "slack.url").write_text(hangs.url())
        (tmp_path / "slack.url").chmod(0o600)
        monkeypatch.setitem(ENVIRONMENT, "WEBHOOK_URL", hook.url())
        monkeypatch.setitem(ENVIRONMENT, "WEBHOOK_SECRET", SECRET)
        agent = LoneAgent(tmp_path, more=f'[notify.slack]\nurl = "file:slack.url"\n{WEBHOOK}')
        try:
            agent.start()
            outbox = Outbox(tmp_path / "var/agent/outbox.db")
            outbox.put(notice("a"))
            wait_for(lambda: len(hook.received) == 1 and len(hangs.received) == 1, "both were spoken to")
            outbox.put(notice("b"))
            wait_for(lambda: len(hook.received) == 2, "the webhook goes on while Slack hangs")
            told = agent.ask("notify", action="list")
            assert told["counts"]["waiting"] == 2 and told["counts"]["delivered"] == 2
            agent.end(9)  # killed in the middle of a delivery
            hangs.does = [200]
            agent.start()
            wait_for(lambda: len(hangs.received) == 3, "what hung is sent after all")
            wait_for(lambda: outbox.counts()["waiting"] == 0, "and nothing is left")
            assert hangs.keys == [notice("a").identity, notice("a").identity, notice("b").identity]
            assert len(hook.received) == 2, "what had arrived is not sent again"
            place = subprocess.run(
                [*TENFOLD, "notify", "test", "webhook"], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, timeout=60
            )
            assert place.returncode == 0 and len(hook.received) == 3
        finally:
            agent.close()
        files = [path for path in (tmp_path / "var").rglob("*") if path.is_file()] + [tmp_path / "agent.out"]
        for path in files:
            assert b"S3CRET" not in path.read_bytes() and SECRET.encode() not in path.read_bytes(), path


def test_where_nobody_is_to_be_told_that_is_known_and_nothing_piles_up(tmp_path: Path, ca: Ca) -> None:
    place = Place(tmp_path, ca, "", "")
    notifier = Notifier(load(tmp_path / "tenfold.toml"), RunPlace.of(tmp_path / "tenfold.toml"))
    notifier.start()
    try:
        place.outbox.put(notice("a"))
        wait_for(lambda: place.outbox.counts()["unassigned"] == 0, "it is known that nobody is to be told")
    finally:
        notifier.stop(10)
    assert set(place.outbox.counts().values()) == {0} and notifier.trouble is None


def test_nothing_is_made_where_nothing_is(tmp_path: Path) -> None:
    done = subprocess.run(
        [*TENFOLD, "notify", "list"], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and "there is no such file" in done.stderr
    assert list(tmp_path.iterdir()) == []
