"""Makes real, tiny bundles for tests: a three-rung ladder of one hidden layer, signed, with base and recipes.

    x (N, 4) → MatMul W1 → × scale → + shift → Relu → MatMul W2 → y (N, 3)

Hidden channels are cut. W1 and W2 are slices of the base; ``scale`` is private to a rung and ``shift`` is half of it, so
that every operation of a recipe is used. The model file is assembled field by field (protobuf encoding, messages of
onnx.proto), because a recipe must know where its variable parts lie.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from secateur.bundle.keys import Keys
from secateur_agent.bundle import recipe as rcp
from secateur_agent.bundle.base import read_base
from secateur_agent.bundle.golden import golden_inputs
from secateur_agent.bundle.manifest import FileRef, Golden, Manifest, Metric, Recut, RungEntry, TensorSpec
from secateur_agent.bundle.reader import BundleFolder
from secateur_agent.bundle.streams import varint

FloatArray = NDArray[np.float32]
INPUTS = (TensorSpec(name="x", shape=(-1, 4)),)
OUTPUTS = (TensorSpec(name="y", shape=(-1, 3)),)
SHIFT_FACTOR = np.float32(0.5)

_FLOAT32, _INT64_TAG_DIM, _VARINT, _BYTES = 1, 0x08, 0, 2


@dataclass(frozen=True)
class Part:
    """A piece of a model file: its bytes, the operations that write them, and what these take from the streams."""

    data: bytes
    ops: tuple[rcp.Op, ...]
    literals: bytes = b""
    ints: tuple[int, ...] = ()
    slices: tuple[rcp.Ranges, ...] = ()
    vectors: bytes = b""


def literal(data: bytes) -> Part:
    """Bytes that are the same in every rung."""
    return Part(data, (rcp.Literal(len(data)),), literals=data)


def number(value: int) -> Part:
    """An integer that differs from rung to rung."""
    return Part(varint(value), (rcp.Varint(),), ints=(value,))


def joined(parts: Iterable[Part]) -> Part:
    """Parts one after the other; neighbouring literals become one operation."""
    parts = list(parts)
    ops: list[rcp.Op] = []
    for op in (op for part in parts for op in part.ops):
        if ops and isinstance(op, rcp.Literal) and isinstance(before := ops[-1], rcp.Literal):
            ops[-1] = rcp.Literal(before.length + op.length)
        else:
            ops.append(op)
    return Part(
        data=b"".join(part.data for part in parts),
        ops=tuple(ops),
        literals=b"".join(part.literals for part in parts),
        ints=tuple(value for part in parts for value in part.ints),
        slices=tuple(ranges for part in parts for ranges in part.slices),
        vectors=b"".join(part.vectors for part in parts),
    )


def field(tag_number: int, value: int | str | bytes | Part) -> Part:
    """A protobuf field: a constant number, a constant string, or an embedded message of varying length."""
    if isinstance(value, int):
        return literal(varint(tag_number << 3 | _VARINT) + varint(value))
    tag = varint(tag_number << 3 | _BYTES)
    if isinstance(value, Part):
        return joined([literal(tag), number(len(value.data)), value])
    data = value.encode() if isinstance(value, str) else value
    return literal(tag + varint(len(data)) + data)


def initializer(name: str, shape: Sequence[int], content: Part) -> Part:
    """GraphProto.initializer: TensorProto with dims, data_type, name and raw_data."""
    dims = [part for size in shape for part in (literal(bytes([_INT64_TAG_DIM])), number(size))]
    return field(5, joined([*dims, field(2, _FLOAT32), field(8, name), field(9, content)]))


def node(op_type: str, inputs: Sequence[str], output: str) -> Part:
    """GraphProto.node."""
    return field(1, joined([*(field(1, name) for name in inputs), field(2, output), field(4, op_type)]))


def value_info(tag_number: int, name: str, last_size: int) -> Part:
    """GraphProto.input (11) or output (12): float32, shape (N, ``last_size``)."""
    shape = joined([field(1, field(2, "N")), field(1, field(1, last_size))])
    return field(tag_number, joined([field(1, name), field(2, field(1, joined([field(1, _FLOAT32), field(2, shape)])))]))


def cut(tensor: str, ranges: rcp.Ranges, axes: tuple[int, ...], value: FloatArray) -> Part:
    """A slice of the base."""
    return Part(np.ascontiguousarray(value).tobytes(), (rcp.Slice(tensor, axes),), slices=(ranges,))


def vector(values: FloatArray) -> Part:
    """Private values."""
    return Part(values.tobytes(), (rcp.Vector("f32"),), ints=(len(values),), vectors=values.tobytes())


def product(index: int, values: FloatArray, factor: np.float32) -> Part:
    """Vector number ``index`` times a scalar."""
    return Part((values * factor).tobytes(), (rcp.Product(index),), vectors=factor.tobytes())


@dataclass(frozen=True)
class ToyRung:
    """One rung of the toy: its model file and its recipe with a program of its own."""

    width: int
    scale: FloatArray
    model: bytes
    recipe: rcp.Recipe

    def child_of(self, parent: bytes) -> bytes:
        """Return the encoded recipe that takes its program from ``parent`` (an encoded recipe)."""
        digest = hashlib.sha256(parent).digest()
        own = self.recipe
        return rcp.encode_recipe(rcp.Recipe(1, own.sha256, own.size, digest, (), b"", own.ints, own.slices, own.vectors))


def toy_base() -> dict[str, FloatArray]:
    """The base: W1 as (out, in) = (16, 4) and W2 as (3, 16); the same in every bundle."""
    random = np.random.default_rng(7)
    shapes = {"hidden": (16, 4), "head": (3, 16)}
    return {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def toy_rung(base: dict[str, FloatArray], width: int) -> ToyRung:
    """Build the rung that keeps ``width`` of the 16 hidden channels."""
    scale = np.linspace(0.5, 1.5, width, dtype=np.float32) * np.float32(4 / width)
    graph = joined(
        [
            node("MatMul", ["x", "w1"], "a"),
            node("Mul", ["a", "scale"], "b"),
            node("Add", ["b", "shift"], "c"),
            node("Relu", ["c"], "d"),
            node("MatMul", ["d", "w2"], "y"),
            field(2, "toy"),
            initializer("w1", (4, width), cut("hidden", ((0, width), ()), (1, 0), base["hidden"][:width].T)),
            initializer("scale", (width,), vector(scale)),
            initializer("shift", (width,), product(0, scale, SHIFT_FACTOR)),
            initializer("w2", (width, 3), cut("head", ((), (0, width)), (1, 0), base["head"][:, :width].T)),
            value_info(11, "x", 4),
            value_info(12, "y", 3),
        ]
    )
    file = joined([field(1, 9), field(7, graph), field(8, field(2, 18))])  # IR 9, opset 18
    digest = hashlib.sha256(file.data).digest()
    recipe = rcp.Recipe(1, digest, len(file.data), b"", file.ops, file.literals, file.ints, file.slices, file.vectors)
    return ToyRung(width, scale, file.data, recipe)


def toy_output(base: dict[str, FloatArray], rung: ToyRung, x: FloatArray) -> FloatArray:
    """What the rung computes, in numpy."""
    hidden = np.maximum(x @ base["hidden"][: rung.width].T * rung.scale + rung.scale * SHIFT_FACTOR, 0)
    return np.asarray(hidden @ base["head"][:, : rung.width].T, np.float32)


def toy_entry(base: dict[str, FloatArray], rung: ToyRung, rung_id: str, recipe_sha: str, base_sha: str) -> RungEntry:
    """The manifest's entry of a rung; accuracy and costs fall with the width."""
    golden = Golden(seed=rung.width, low=-1.0, high=1.0, outputs=(0.0,), tolerance=1e-4)
    (x,) = golden_inputs(golden, INPUTS)
    outputs = tuple(float(value) for value in toy_output(base, rung, x).ravel())
    return RungEntry(
        id=rung_id,
        precision="fp32",
        recipe=recipe_sha,
        base=base_sha,
        file_sha256=rung.recipe.sha256.hex(),
        file_bytes=rung.recipe.size,
        keep={"hidden": rung.width},
        macs=7 * rung.width,
        params=9 * rung.width,
        metric_value=round(0.95 - 1 / rung.width, 4),
        latency_ms=0.1 * rung.width,
        latency_source="roofline",
        memory_mb=50.0 + rung.width,
        energy_mj=0.2 * rung.width,
        golden=Golden(seed=rung.width, low=-1.0, high=1.0, outputs=outputs, tolerance=1e-4),
    )


def make_bundle(
    folder: Path,
    keys: Keys,
    *,
    name: str = "toy",
    profile: str = "linux-x86-64",
    widths: Sequence[int] = (16, 8, 4),
    ballast_bytes: int = 0,
) -> Path:
    """Write a signed bundle.

    Args:
        folder: where ``NAME-PROFILE.bundle`` is created.
        keys: must hold the ``bundle`` key.
        name: the model's name.
        profile: the device profile.
        widths: hidden channels of each rung, largest first, at most 16; their ids are ``r0-fp32``, ``r1-fp32``, …
        ballast_bytes: of a tensor in the base that no rung uses, so that downloading it takes a while.

    Returns:
        The bundle's folder.
    """
    path = folder / f"{name}-{profile}.bundle"
    (path / "recipes").mkdir(parents=True)
    base = toy_base()
    if ballast_bytes:
        base["ballast"] = np.random.default_rng(1).standard_normal(ballast_bytes // 4).astype(np.float32)
    save_file(base, path / "base-fp32.safetensors")
    rungs = [toy_rung(base, width) for width in widths]
    parent = rcp.encode_recipe(rungs[0].recipe)
    for index, rung in enumerate(rungs):
        recipe = parent if index == 0 else rung.child_of(parent)
        (path / "recipes" / f"r{index}-fp32.recipe").write_bytes(recipe)
    files = [_file_ref(path, file) for file in sorted(path.rglob("*")) if file.is_file()]
    digests = {file.path: file.sha256 for file in files}
    entries = [
        toy_entry(base, rung, f"r{i}-fp32", digests[f"recipes/r{i}-fp32.recipe"], digests["base-fp32.safetensors"])
        for i, rung in enumerate(rungs)
    ]
    manifest = Manifest(
        name=name,
        profile=profile,
        files=tuple(files),
        inputs=INPUTS,
        outputs=OUTPUTS,
        metric=Metric(name="accuracy", split="test", labelled=True),
        rungs=tuple(entries),
    )
    (path / "manifest.json").write_bytes(keys.seal("bundle", manifest))
    return path


def _file_ref(root: Path, file: Path) -> FileRef:
    data = file.read_bytes()
    path = file.relative_to(root).as_posix()
    return FileRef(path=path, sha256=hashlib.sha256(data).hexdigest(), size=len(data))


@dataclass(frozen=True)
class ToyRecut:
    """A rung cut later, as the host ships it: the signed envelope and the recipe that it names."""

    entry: RungEntry
    recipe: bytes
    envelope: bytes
    model: bytes


def make_recut(bundle: Path, keys: Keys, *, width: int = 12, rung_id: str = "r9-fp32") -> ToyRecut:
    """Cut another rung from the base of a bundle of `make_bundle`, signed by the ``recut`` key.

    Args:
        bundle: the bundle's folder.
        keys: those that signed it; must hold the ``recut`` key.
        width: hidden channels, at most those of the bundle's first rung.
        rung_id: its id, not used in the bundle.
    """
    opened = BundleFolder(bundle, keys.root)
    first = opened.manifest.rungs[0]
    base: dict[str, FloatArray] = {
        name: np.asarray(tensor, np.float32) for name, tensor in read_base(bundle / "base-fp32.safetensors").items()
    }
    rung = toy_rung(base, width)
    recipe = rung.child_of(opened.read(first.recipe))
    entry = toy_entry(base, rung, rung_id, hashlib.sha256(recipe).hexdigest(), first.base)
    envelope = keys.seal("recut", Recut(bundle=opened.manifest_sha256, rung=entry))
    return ToyRecut(entry, recipe, envelope, rung.model)
