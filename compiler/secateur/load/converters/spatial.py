"""What convolutions and pools share."""

from __future__ import annotations

from secateur.load.builder import Converting


def spatial(node: Converting, kernel: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Strides, pads and dilations of a convolution or pool with ``auto_pad`` resolved."""
    count = len(kernel)
    strides = tuple(node.attrs.get("strides", (1,) * count))
    dilations = tuple(node.attrs.get("dilations", (1,) * count))
    pads = tuple(node.attrs.get("pads", (0,) * 2 * count))
    auto = node.attrs.get("auto_pad", b"NOTSET").decode()
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        sizes = node.shape()[2:]
        total = [
            max(0, (-(-size // s) - 1) * s + (k - 1) * d + 1 - size)
            for size, s, k, d in zip(sizes, strides, kernel, dilations)
        ]
        small, large = [t // 2 for t in total], [t - t // 2 for t in total]
        pads = tuple(small + large if auto == "SAME_UPPER" else large + small)
    elif auto == "VALID":
        pads = (0,) * 2 * count
    return {"strides": strides, "pads": pads, "dilations": dilations}
