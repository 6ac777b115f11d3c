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


def transposed(node: Converting, kernel: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Strides, pads, dilations and output padding of a transposed convolution, its output's shape resolved."""
    count = len(kernel)
    strides = tuple(node.attrs.get("strides", (1,) * count))
    dilations = tuple(node.attrs.get("dilations", (1,) * count))
    extra = tuple(node.attrs.get("output_padding", (0,) * count))
    pads = tuple(node.attrs.get("pads", (0,) * 2 * count))
    auto = node.attrs.get("auto_pad", b"NOTSET").decode()
    sizes, wanted = node.shape()[2:], node.attrs.get("output_shape")
    if wanted is None and auto in ("SAME_UPPER", "SAME_LOWER"):
        wanted = [size * stride for size, stride in zip(sizes, strides)]
    if wanted is not None:
        ends = [s * (n - 1) + e + (k - 1) * d + 1 for n, s, e, k, d in zip(sizes, strides, extra, kernel, dilations)]
        total = [max(0, end - size) for end, size in zip(ends, list(wanted)[-count:])]
        small, large = [t // 2 for t in total], [t - t // 2 for t in total]
        pads = tuple(small + large if auto == "SAME_UPPER" else large + small)
    elif auto == "VALID":
        pads = (0,) * 2 * count
    return {"strides": strides, "pads": pads, "dilations": dilations, "output_padding": extra}
