"""All shapes of the oracle, by name; core.toml lists them for readers. Pure."""

from __future__ import annotations

from tests.sharding.oracle import (
    across_shapes,
    copy_shapes,
    core_shapes,
    form_shapes,
    kind_shapes,
    literal_shapes,
    odd_shapes,
    sly_shapes,
    write_shapes,
)
from tests.sharding.oracle.draw import Shape

ALL: tuple[Shape, ...] = (
    *core_shapes.SHAPES,
    *across_shapes.SHAPES,
    *kind_shapes.SHAPES,
    *write_shapes.SHAPES,
    *copy_shapes.SHAPES,
    *odd_shapes.SHAPES,
    *sly_shapes.SHAPES,
    *literal_shapes.SHAPES,
    *form_shapes.SHAPES,
)
BY_NAME = {shape.name: shape for shape in ALL}


def shapes_of(engine: str) -> list[Shape]:
    """Those that this engine's SQL can say."""
    return [shape for shape in ALL if engine in shape.engines]
