"""Who owns nginx's configuration: wishes are kept, gathered, carried out, and taken back when nginx refuses. Edge."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tenfold.balancer.states import Wanted
from tenfold.errors import BalancerError, PlatformError
from tenfold.runtime.agent_balancer import BalancerOwner, recorded
from tests.balancer.site import Site, site, stop, topology_of

DRAIN, DOWN, READY = Wanted.DRAIN, Wanted.DOWN, Wanted.READY


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site("packaged", tmp_path_factory.mktemp("site") / "var") as one:
        yield one


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return tmp_path / "balancer.json"


def owning(
    running: Site, record: Path, work: Callable[[BalancerOwner], Awaitable[None]], every_s: float = 0.0
) -> BalancerOwner:
    """Do `work` with an owner that runs; the owner afterwards."""

    async def run() -> BalancerOwner:
        owner = BalancerOwner(running.topology, running.prepared.var, record, reload_every_s=every_s)
        task = asyncio.create_task(owner.run())
        try:
            await asyncio.wait_for(work(owner), 20)
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        return owner

    return asyncio.run(run())


def test_a_wish_is_carried_out_before_it_is_answered_and_gone_from_the_record_when_all_are_ready(
    running: Site, record: Path
) -> None:
    async def work(owner: BalancerOwner) -> None:
        await owner.want("backend_1", DRAIN)
        assert not owner.pending
        assert "backend_1" not in {running.ask().backend for _ in range(12)}
        assert json.loads(record.read_text())["wanted"] == {"backend_1": "drain"}
        assert record.stat().st_mode & 0o077 == 0
        await owner.want("backend_1", DRAIN)  # as it is: nothing to do
        assert owner.reloads == 1
        await owner.want("backend_1", READY)
        assert not record.exists()

    assert owning(running, record, work).reloads == 2


def test_wishes_that_come_together_share_a_reload(running: Site, record: Path) -> None:
    async def work(owner: BalancerOwner) -> None:
        loop = asyncio.get_running_loop()
        await owner.want("backend_1", DRAIN)
        begun_s = loop.time()
        await asyncio.gather(
            owner.want("backend_1", DOWN), owner.want("backend_2", DRAIN), owner.want("backend_1", DRAIN),
            owner.want("backend_2", DOWN),
        )  # fmt: skip
        assert loop.time() - begun_s >= 0.5  # not sooner after the one before
        assert owner.wanted == {"backend_1": DRAIN, "backend_2": DOWN}
        assert {running.ask().backend for _ in range(6)} == {"backend_0"}

    assert owning(running, record, work, every_s=0.6).reloads == 2


def test_a_wish_that_is_taken_back_while_nginx_hears_of_it_is_carried_out_too(running: Site, record: Path) -> None:
    async def work(owner: BalancerOwner) -> None:
        await owner.want("backend_1", DOWN)
        for _ in range(3):
            back = asyncio.create_task(owner.want("backend_1", READY))
            await asyncio.sleep(0.005)  # nginx looks at its file by now, which takes longer
            await owner.want("backend_1", DOWN)
            await back
            assert not owner.pending and owner.wanted == {"backend_1": DOWN}
            assert "backend_1" not in {running.ask().backend for _ in range(8)}
        await owner.want("backend_1", READY)

    owning(running, record, work)


def test_what_one_agent_was_told_the_next_one_knows_and_an_interrupted_wish_is_carried_out(
    running: Site, record: Path
) -> None:
    # The agent before was killed after it had recorded the wish and before nginx had heard of it.
    record.write_text(json.dumps({"wanted": {"backend_2": "down"}, "told": {}}))

    async def work(owner: BalancerOwner) -> None:
        assert owner.wanted == {"backend_2": DOWN}
        while owner.pending:
            await asyncio.sleep(0.01)
        assert "backend_2" not in {running.ask().backend for _ in range(8)}

    owning(running, record, work)
    assert recorded(record, running.topology) == {"backend_2": DOWN}

    async def nothing(owner: BalancerOwner) -> None:
        assert not owner.pending
        await owner.want("backend_2", READY)

    assert owning(running, record, nothing).reloads == 1


def test_a_wish_that_nginx_refuses_is_taken_back_everywhere(running: Site, record: Path) -> None:
    broken = running.topology.model_copy(
        update={"balancer": running.topology.balancer.model_copy(update={"listen": "127.0.0.1:99999"})}
    )

    async def work() -> None:
        owner = BalancerOwner(broken, running.prepared.var, record, reload_every_s=0)
        task = asyncio.create_task(owner.run())
        with pytest.raises(BalancerError, match="invalid port"):
            await owner.want("backend_1", DOWN)
        assert owner.wanted == {} and not record.exists()
        task.cancel()

    before = running.prepared.config.read_text()
    asyncio.run(work())
    assert running.prepared.config.read_text() == before


def test_a_wish_that_cannot_be_recorded_is_refused_and_changes_nothing(running: Site, tmp_path: Path) -> None:
    async def work(owner: BalancerOwner) -> None:
        with pytest.raises(PlatformError, match="nothing was changed") as refused:
            await owner.want("backend_1", DOWN)
        assert "make room" in refused.value.hint
        assert owner.wanted == {} and not owner.pending

    assert owning(running, tmp_path / "no such directory" / "record", work).reloads == 0


@pytest.mark.parametrize("damaged", ["", "[]", "{", '{"wanted": 7}', '{"wanted": {"backend_1": "sideways"}}'])
def test_a_damaged_record_counts_as_none(record: Path, damaged: str) -> None:
    record.write_text(damaged)
    assert recorded(record, topology_of()) == {}


def test_while_nginx_is_away_a_wish_is_written_for_its_return(tmp_path: Path) -> None:
    with site("packaged", tmp_path / "var") as alone:
        stop(alone.nginx)

        async def work(owner: BalancerOwner) -> None:
            await owner.want("backend_1", DOWN)
            assert not owner.pending

        owning(alone, tmp_path / "balancer.json", work)
        assert " down;" in alone.prepared.config.read_text()
