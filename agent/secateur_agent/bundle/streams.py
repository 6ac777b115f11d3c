"""What a recipe's operations take: each stream is read from the front and must be used up. And how integers are written."""

from __future__ import annotations

from secateur_agent.bundle.manifest import BundleError
from secateur_agent.bundle.recipe import Recipe


def varint(value: int) -> bytes:
    """Encode a non-negative integer as a protobuf base-128 varint."""
    out = bytearray()
    while value > 0x7F:
        out.append(0x80 | value & 0x7F)
        value >>= 7
    out.append(value)
    return bytes(out)


def word(value: int, what: str) -> bytes:
    """Encode an integer as 32 bits, the lowest byte first.

    Raises:
        BundleError: if it has more bits.
    """
    if value >= 1 << 32:
        raise BundleError(f"{what}: the recipe writes {value} as 32 bits")
    return value.to_bytes(4, "little")


class Streams:
    """The streams of a recipe, each read from the front."""

    def __init__(self, recipe: Recipe, what: str) -> None:
        self._what = what
        self._bytes = {"literals": memoryview(recipe.literals), "vectors": memoryview(recipe.vectors)}
        self._ints = iter(recipe.ints)
        self._slices = iter(recipe.slices)

    def take(self, stream: str, count: int) -> bytes:
        rest = self._bytes[stream]
        if count > len(rest):
            raise BundleError(f"{self._what}: the recipe wants {count} more bytes of {stream}, {len(rest)} are left")
        self._bytes[stream] = rest[count:]
        return bytes(rest[:count])

    def integer(self) -> int:
        for value in self._ints:
            return value
        raise BundleError(f"{self._what}: the recipe wants more integers than it has")

    def ranges(self) -> tuple[tuple[int, ...], ...]:
        for value in self._slices:
            return value
        raise BundleError(f"{self._what}: the recipe wants more slices than it has")

    def finish(self) -> None:
        left = [name for name, rest in self._bytes.items() if len(rest)]
        for name, rest in (("ints", self._ints), ("slices", self._slices)):
            left += [name] if next(iter(rest), None) is not None else []
        if left:
            raise BundleError(f"{self._what}: the recipe does not use all of its {' and '.join(left)}")
