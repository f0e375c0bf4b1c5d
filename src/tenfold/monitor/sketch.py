"""A histogram whose quantiles are right to 1.1 % and whose merge is addition. Pure."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence
from decimal import Decimal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

SCALE = 32
GAMMA = 2 ** (1 / SCALE)
ERROR = (GAMMA - 1) / (GAMMA + 1)  # 0.01083: of the middle of a bucket against anything inside it
TINY = 2.0**-1022  # below it a float loses digits, so that no bucket could keep the promise

# 2^(k/32 - 1): the upper edges of the buckets within one power of two, correctly rounded. A table and frexp
# instead of log2: the logarithm of one number may differ in its last bit between machines, and between the
# head and the tail of one vector, and then arrays made from the same values would differ.
_EDGES: Floats = np.array([float(Decimal(2) ** (Decimal(k) / SCALE - 1)) for k in range(SCALE)])
_MIDDLES: Floats = _EDGES * (2 / (1 + GAMMA))
_FIRST, _LAST = -1022 * SCALE, 1024 * SCALE

_HEADER = struct.Struct("<BqdddiIBB")
_VERSION = 1
_WIDTHS = (1, 2, 4, 8)


def bucket_of(values: Floats) -> Ints:
    """The bucket of each value: `i` holds GAMMA^(i-1) < value <= GAMMA^i, as DDSketch, OpenTelemetry's exponential
    histogram and Prometheus' native one of schema 5 count them.

    values   of any shape, each at least TINY and finite; not checked
    Returns  the same shape; the same on every machine, because arrays on disk were made by it
    """
    mantissa, exponent = np.frexp(values)
    return SCALE * (exponent.astype(np.int64) - 1) + np.searchsorted(_EDGES, mantissa, side="left")


def middle_of(buckets: Ints) -> Floats:
    """The value that is at most ERROR away, relatively, from everything in its bucket: 2·GAMMA^i / (1 + GAMMA)."""
    return np.ldexp(_MIDDLES[buckets % SCALE], buckets // SCALE + 1)


class Sketch:
    """Counts in buckets that grow by GAMMA = 2^(1/32); seconds, bytes, anything that is not negative.

    A value below TINY (2.2e-308: zero and the denormal numbers) is counted as zero. Memory: 8 bytes for each
    bucket between the smallest and the largest value, 2 KB a factor of 256, 512 KB at the very most.
    """

    __slots__ = ("_counts", "_max", "_min", "_offset", "sum", "zeros")

    def __init__(self) -> None:
        self._offset = 0
        self._counts: Ints = np.zeros(0, np.int64)
        self._min, self._max = math.inf, -math.inf
        self.zeros = 0
        self.sum = 0.0  # adds up in the order of arrival: merged in another order it may differ in its last digits

    def add(self, values: ArrayLike) -> None:
        """Count each of `values`, a number or an array of any shape.

        Raises  ValueError for a negative, infinite or missing number; then none of `values` is counted
        """
        array = np.asarray(values, np.float64).ravel()
        if not array.size:
            return
        low, high = float(array.min()), float(array.max())
        if not (low >= 0 and high < math.inf):  # NaN fails both
            raise ValueError("a sketch counts finite numbers from zero on")
        with np.errstate(over="ignore"):
            self.sum = float(np.add(self.sum, array.sum()))
        self._min, self._max = min(self._min, low), max(self._max, high)
        if low < TINY:
            large = array[array >= TINY]
            self.zeros += array.size - large.size
            array = large
        if array.size:
            buckets = bucket_of(array)
            first = int(buckets.min())
            self._count(first, np.bincount(buckets - first).astype(np.int64, copy=False))

    def merge(self, other: Sketch) -> None:
        """Count all that `other` has counted. The order in which sketches are merged changes no count."""
        self.zeros += other.zeros
        with np.errstate(over="ignore"):
            self.sum = float(np.add(self.sum, other.sum))
        self._min, self._max = min(self._min, other._min), max(self._max, other._max)
        if other._counts.size:
            self._count(other._offset, other._counts)

    def quantile(self, q: float) -> float | None:
        """The value that the share `q` (0 to 1) of all values does not exceed; None when there are none.

        It is within ERROR (1.083 %) of the exact order statistic: of the smallest value `v` such that at least
        ceil(q·count) values are <= v (numpy's `inverted_cdf`, but that 0.07 of 100 is 7). 0 and 1 give the exact
        minimum and maximum.
        """
        return self.quantiles((q,))[0]

    def quantiles(self, qs: Sequence[float]) -> list[float | None]:
        """`quantile` of each of `qs`, at the price of one. Raises ValueError for a share outside 0 to 1."""
        if not all(0 <= q <= 1 for q in qs):
            raise ValueError("a quantile is a share from 0 to 1")
        count = self.count
        if not count:
            return [None for _ in qs]
        running = np.cumsum(self._counts)
        return [self._at(rank_of(q, count), running) for q in qs]

    @property
    def count(self) -> int:
        """How many values."""
        return self.zeros + int(self._counts.sum())

    @property
    def min(self) -> float | None:
        """The smallest value, exact; None when there are none."""
        return self._min if self._min <= self._max else None

    @property
    def max(self) -> float | None:
        """The largest value, exact; None when there are none."""
        return self._max if self._min <= self._max else None

    @property
    def mean(self) -> float | None:
        """The exact average, but for the rounding of floats; None when there are no values."""
        count = self.count
        return self.sum / count if count else None

    @property
    def buckets(self) -> tuple[int, Ints]:
        """(number of the first bucket, counts from there on, the first and last of them not zero); a copy."""
        return self._offset, self._counts.copy()

    @classmethod
    def of_counts(cls, first: int, counts: Ints, zeros: int, total: float, low: float, high: float) -> Sketch:
        """A sketch of values that are counted already.

        counts  of buckets from number `first` on; zeros at either end are cut off
        total   sum of the values; `low` and `high` are the smallest and the largest of them
        """
        sketch = cls()
        used = np.flatnonzero(counts)
        if used.size:
            start, end = int(used[0]), int(used[-1]) + 1
            sketch._offset, sketch._counts = first + start, counts[start:end].astype(np.int64)
        sketch.zeros, sketch.sum = zeros, total
        if used.size or zeros:
            sketch._min, sketch._max = low, high
        return sketch

    def encode(self) -> bytes:
        """As bytes: 43 of header, then a gap and a count for each bucket that is not empty, 2 or 3 bytes usually."""
        used = np.flatnonzero(self._counts)
        gaps, counts = np.diff(used, prepend=used[:1]), self._counts[used]
        widths = [_width(int(array.max(initial=0))) for array in (gaps, counts)]
        header = (self.zeros, self.sum, self._min, self._max, self._offset, used.size, *widths)
        parts = [a.astype(f"<u{w}").tobytes() for a, w in zip((gaps, counts), widths, strict=True)]
        return _HEADER.pack(_VERSION, *header) + parts[0] + parts[1]

    @classmethod
    def decode(cls, data: bytes) -> Sketch:
        """The sketch that `encode` wrote. Raises ValueError for anything else."""
        try:
            version, zeros, total, low, high, first, size, *widths = _HEADER.unpack_from(data)
        except struct.error as error:
            raise ValueError("not a sketch: too short") from error
        if version != _VERSION or any(w not in _WIDTHS for w in widths) or zeros < 0:
            raise ValueError("not a sketch: unknown header")
        middle = _HEADER.size + size * widths[0]
        if len(data) != middle + size * widths[1]:
            raise ValueError("not a sketch: wrong length")
        gaps = np.frombuffer(data, f"<u{widths[0]}", size, _HEADER.size).astype(np.int64)
        counts = np.frombuffer(data, f"<u{widths[1]}", size, middle).astype(np.int64)
        # The sum is bounded first: the bytes may be anything, and must not ask for gigabytes.
        if np.any(gaps < 0) or np.any(gaps[:1]) or np.any(gaps[1:] < 1) or np.any(counts < 1):
            raise ValueError("not a sketch: broken counts")
        if first < _FIRST or np.any(gaps > _LAST - _FIRST) or first + int(gaps.sum()) > _LAST:
            raise ValueError("not a sketch: buckets out of range")
        if (size or zeros) and not 0 <= low <= high < math.inf:
            raise ValueError("not a sketch: broken bounds")
        places = np.cumsum(gaps)
        dense = np.zeros(int(places[-1]) + 1 if size else 0, np.int64)
        dense[places] = counts
        return cls.of_counts(first, dense, zeros, total, low, high)

    def _count(self, first: int, counts: Ints) -> None:
        """Add `counts` from bucket `first` on; the array reaches exactly from the lowest to the highest bucket used,
        so that equal counts are equal arrays."""
        if not self._counts.size:
            self._offset, self._counts = first, counts.copy()
            return
        start = min(first, self._offset)
        end = max(first + counts.size, self._offset + self._counts.size)
        if end - start > self._counts.size:
            grown = np.zeros(end - start, np.int64)
            grown[self._offset - start :][: self._counts.size] = self._counts
            self._offset, self._counts = start, grown
        self._counts[first - start :][: counts.size] += counts

    def _at(self, rank: int, running: Ints) -> float:
        if rank == 1:
            return self._min
        if rank == self.count:
            return self._max
        if rank <= self.zeros:
            return 0.0
        bucket = np.asarray([self._offset + int(np.searchsorted(running, rank - self.zeros))])
        # The exact value is between the extremes, so going no further than they is never worse.
        return min(max(float(middle_of(bucket)[0]), self._min), self._max)


def merged(sketches: Iterable[Sketch]) -> Sketch:
    """One sketch of all that `sketches` have counted."""
    total = Sketch()
    for sketch in sketches:
        total.merge(sketch)
    return total


def rank_of(q: float, count: int) -> int:
    """The rank, from 1 on, of quantile `q` among `count` values: ceil(q·count), at least 1 (nearest rank)."""
    # 0.07 * 100 is 7.000000000000001 in floats; asking for the eighth value there would be wrong.
    return min(max(math.ceil(round(q * count, 9)), 1), count)


def _width(largest: int) -> int:
    return next(width for width in _WIDTHS if largest < 256**width)
