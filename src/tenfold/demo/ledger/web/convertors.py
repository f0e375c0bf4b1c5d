"""Kinds of values in addresses, known to the router by name: {id:row}, {slug:slug}, {kind:kind}. Edge."""

from __future__ import annotations

from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request

from tenfold.demo.ledger.problems import Missing


class _Text(Convertor[str]):
    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


class _Row(_Text):
    regex = "[0-9]{1,19}"


class _Slug(_Text):
    regex = "[a-z0-9-]{1,60}"


class _Kind(_Text):
    regex = "deposit|withdrawal|transfer"


def row_asked(request: Request) -> int:
    """The {id:row} of the address. Raises Missing for one that no row can have."""
    row_id = int(request.path_params["id"])
    if row_id >= 2**63:
        raise Missing("There is nothing at this address.")
    return row_id


def register() -> None:
    """Make the kinds known; to be called before the first route is made."""
    register_url_convertor("row", _Row())
    register_url_convertor("slug", _Slug())
    register_url_convertor("kind", _Kind())
