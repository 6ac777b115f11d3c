"""Which operators at which widths to time: for one network what its rungs can contain, or a set that suits any."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from secateur.ir import Groups, Signature, SizedOperator
from secateur.ir.signature import Kind
from secateur.search.cost import Costs

MOST_WIDTHS = 8
"""Of one axis; between them is interpolated. Up to 64 channels every block of a kernel (8 or 16 channels) is seen."""
STANDARD_WIDTHS = (8, 16, 32, 64, 128, 256)
STANDARD_SIZES = (7, 14, 28, 56)
_STANDARD_CONVOLUTIONS: tuple[tuple[int, int, Kind], ...] = (
    (3, 1, "dense"),
    (3, 2, "dense"),
    (1, 1, "dense"),
    (3, 1, "depthwise"),
    (3, 2, "depthwise"),
)
MOST_MACS = 30_000_000
"""Of an operator in the standard set: larger ones scale with their work."""


def operators_of(costs: Costs, groups: Groups, grid: int, smallest_share: float = 0.125) -> list[SizedOperator]:
    """Return what to time for a network: each operator at the widths that rungs can give it, and at some off the grid.

    Args:
        costs: of the network.
        groups: its channel groups.
        grid: multiples of this run fast.
        smallest_share: of each group's channels that a rung keeps at least.
    """
    full = groups.full()
    least = {key: max(1, min(size, max(grid, int(size * smallest_share)))) for key, size in full.items()}
    found: dict[SizedOperator, None] = {}
    for large, small in zip(costs.of(full), costs.of(least)):
        pairs = _pairs(
            large.signature,
            _widths(small.channels_in, large.channels_in, grid),
            _widths(small.channels_out, large.channels_out, grid),
            grid,
        )
        found.update(dict.fromkeys(SizedOperator(large.signature, a, b) for a, b in pairs))
    return list(found)


def standard_operators(grid: int) -> list[SizedOperator]:
    """Return a set from which any convolutional network's operators can be interpolated.

    Args:
        grid: multiples of this run fast.
    """
    signatures = [Signature("Linear")]
    for size in STANDARD_SIZES:
        plane, half = (size, size), (-(-size // 2),) * 2
        for kernel, stride, groups in _STANDARD_CONVOLUTIONS:
            out = plane if stride == 1 else half
            signatures.append(Signature("Conv", plane, out, (kernel,) * 2, (stride,) * 2, (), groups, "Relu"))
        signatures += [Signature("Add", plane, plane), Signature("GlobalAveragePool", plane, (1, 1))]
        signatures.append(Signature("MaxPool", plane, half, (2, 2), (2, 2)))
    widths = sorted({-(-width // grid) * grid for width in STANDARD_WIDTHS})
    return [
        SizedOperator(signature, a, b)
        for signature in signatures
        for a, b in dict.fromkeys(_pairs(signature, widths, widths, grid))
        if signature.work(a, b)[0] <= MOST_MACS
    ]


def _widths(least: int, most: int, grid: int) -> list[int]:
    """Multiples of the grid between two widths, and both; of many, those in even ratios."""
    if least == most:
        return [most]
    regular = [w for w in range(grid, most, grid) if w > least]
    if len(regular) > MOST_WIDTHS - 2:
        ratios = [(most / least) ** (step / (MOST_WIDTHS - 2)) for step in range(1, MOST_WIDTHS - 2)]
        regular = sorted({min(regular, key=lambda w: abs(w - least * ratio)) for ratio in ratios})
    return [least, *regular, most]


def _pairs(signature: Signature, ins: list[int], outs: list[int], grid: int) -> Iterator[tuple[int, int]]:
    mixing = signature.op == "Linear" or signature.groups in ("dense", "grouped")
    if not mixing:  # each output channel is made of its own input channel
        yield from zip(_spread(ins, len(outs)), outs)
        return
    yield from ((a, b) for a in ins for b in outs)
    yield from zip(_neighbours(ins, grid), _neighbours(outs, grid))


def _spread(widths: list[int], count: int) -> Iterable[int]:
    return widths if len(widths) == count else [widths[-1]] * count


def _neighbours(widths: list[int], grid: int) -> list[int]:
    """Just under and just over a middle width on the grid; an axis of one width has no neighbours."""
    inner = [width for width in widths[1:] if width % grid == 0]
    if grid == 1 or len(widths) == 1 or not inner:
        return [widths[-1]] * 2
    middle = inner[len(inner) // 2]
    return [middle - 1, middle + 1 if middle < widths[-1] else middle - grid + 1]
