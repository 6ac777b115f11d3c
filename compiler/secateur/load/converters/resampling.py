"""Operators that change the resolution: resize, pixel shuffle and its inverse."""

from __future__ import annotations

import numpy as np

from secateur.load.builder import Converting
from secateur.load.converters.registry import converter

_COORDINATES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric")


@converter("Resize")
def _resize(node: Converting) -> None:
    """Constant scales or sizes of the spatial axes become scales."""
    shape, attrs = node.shape(), node.attrs
    coordinates = attrs.get("coordinate_transformation_mode", b"half_pixel").decode()
    mode = attrs.get("mode", b"nearest").decode()
    odd = (
        attrs.get("antialias")
        or attrs.get("exclude_outside")
        or attrs.get("keep_aspect_ratio_policy", b"stretch") != b"stretch"
    )
    if coordinates not in _COORDINATES or mode not in ("nearest", "linear", "cubic") or odd:
        raise node.fail(f"mode {mode} with coordinates {coordinates} or its further options are not supported")
    given, sizes = node.constant(2), node.constant(3)
    if (given is None or not given.size) and (sizes is None or not sizes.size):
        raise node.fail("its scales or sizes must be constant")
    axes = [int(axis) % len(shape) for axis in attrs.get("axes", range(len(shape)))]
    scales = [1.0] * len(shape)
    for place, axis in enumerate(axes):
        if axis == 0:
            continue
        if sizes is not None and sizes.size:
            scales[axis] = _exact_scale(shape[axis], int(sizes[place]))
        else:
            assert given is not None
            scales[axis] = float(given[place])
    if scales[1] != 1.0 or len(shape) not in (3, 4):
        raise node.fail("only one or two spatial axes can be resized")
    node.emit(
        "Resize",
        mode=mode,
        coordinate_transformation_mode=coordinates,
        nearest_mode=attrs.get("nearest_mode", b"round_prefer_floor").decode(),
        cubic_coeff_a=float(attrs.get("cubic_coeff_a", -0.75)),
        scales=tuple(scales),
    )


def _exact_scale(size: int, wanted: int) -> float:
    """Return the float32 scale that turns ``size`` into ``wanted`` although the result is rounded down."""
    scale = np.float32(wanted / size)
    while int(np.floor(size * float(scale))) < wanted:
        scale = np.nextafter(scale, np.float32(np.inf))
    return float(scale)


@converter("DepthToSpace")
def _depth_to_space(node: Converting) -> None:
    """Shi et al.: Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel CNN, CVPR 2016."""
    node.emit("DepthToSpace", blocksize=node.attrs["blocksize"], mode=node.attrs.get("mode", b"DCR").decode())


@converter("SpaceToDepth")
def _space_to_depth(node: Converting) -> None:
    node.emit("SpaceToDepth", blocksize=node.attrs["blocksize"])
