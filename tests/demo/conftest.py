"""One ledger for all tests of a worker; tests take people of their own, so that none sees another's money. Edge."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.demo.platform import Backend, Member, Platform


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A hundred and twenty people on three shards."""
    made = Platform(tmp_path_factory.mktemp("ledger"), people=120)
    yield made
    made.close()


@pytest.fixture(scope="session")
def backend(platform: Platform) -> Backend:
    """One backend of it, that runs."""
    return platform.start().wait()


@pytest.fixture(scope="session")
def numbers(platform: Platform) -> Iterator[int]:
    """People that no test has taken yet."""
    return iter(platform.with_euros())


@pytest.fixture
def member(platform: Platform, backend: Backend, numbers: Iterator[int]) -> Iterator[Callable[[], Member]]:
    """Gives a person that no other test uses, with a wallet in euros."""
    made: list[Member] = []

    def next_one() -> Member:
        made.append(Member(platform, backend, next(numbers)))
        return made[-1]

    yield next_one
    for one in made:
        one.http.close()


@pytest.fixture
def admin(platform: Platform, backend: Backend) -> Iterator[Member]:
    """The administrator."""
    one = Member(platform, backend, 1)
    yield one
    one.http.close()
