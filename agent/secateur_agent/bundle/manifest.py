"""The manifest of a bundle and of a rung that was cut later, as msgspec Structs (``docs/bundle.md``)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from secateur_agent.protocol.messages import Count, Id, MessageError, Positive, RungId, Sha256
from secateur_agent.trust import TrustRoot, open_signed

Precision = Literal["fp32", "fp16", "int8", "int8-weight-only", "int8-symmetric"]
RelativePath = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}(/[A-Za-z0-9][A-Za-z0-9._-]{0,99})?$(?!\n)")]


class BundleError(ValueError):
    """A bundle is not what its specification asks for."""


class FileRef(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the bundle: path inside the folder, digest, bytes."""

    path: RelativePath
    sha256: Sha256
    size: Count


class TensorSpec(msgspec.Struct, frozen=True, kw_only=True):
    """An input or output of the network; −1 in ``shape`` is the batch."""

    name: str
    datatype: Literal["FP32", "INT32", "INT64", "BOOL"] = "FP32"
    shape: tuple[int, ...]


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """What a rung's ``metric_value`` (0 to 1, higher is better) measures."""

    name: str
    split: str
    labelled: bool


class GoldenOutput(msgspec.Struct, frozen=True, kw_only=True):
    """What is expected at the front of one output tensor; nothing of one that is not compared."""

    outputs: Annotated[tuple[float, ...], Meta(max_length=64)]
    tolerance: Annotated[float, Meta(ge=0)]


class Golden(msgspec.Struct, frozen=True, kw_only=True):
    """Expected outputs for inputs from the generator of the specification.

    ``ranges`` has the lowest and highest value of each input; if it is empty, ``low`` and ``high`` hold for all.
    ``outputs`` and ``tolerance`` are of the first output tensor, ``others`` of the second and so on.
    """

    seed: Count
    low: float
    high: float
    ranges: tuple[tuple[float, float], ...] = ()
    outputs: Annotated[tuple[float, ...], Meta(min_length=1, max_length=64)]
    tolerance: Annotated[float, Meta(ge=0)]
    others: Annotated[tuple[GoldenOutput, ...], Meta(max_length=64)] = ()


class RungEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One rung: what it is, how to write it, what it is expected to cost."""

    id: RungId
    precision: Precision
    recipe: Sha256
    base: Sha256
    file_sha256: Sha256
    file_bytes: Count
    keep: dict[str, int]
    macs: Count
    params: Count
    metric_value: float
    latency_ms: Positive
    latency_source: Literal["roofline", "measured"]
    memory_mb: Positive
    energy_mj: Positive
    golden: Golden


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle, as its ``bundle`` key signed it."""

    v: Literal[1] = 1
    kind: Literal["bundle"] = "bundle"
    name: Id
    profile: str
    files: Annotated[tuple[FileRef, ...], Meta(max_length=4096)]
    inputs: Annotated[tuple[TensorSpec, ...], Meta(min_length=1)]
    outputs: Annotated[tuple[TensorSpec, ...], Meta(min_length=1)]
    metric: Metric
    rungs: Annotated[tuple[RungEntry, ...], Meta(min_length=1, max_length=256)]

    def rung(self, rung_id: str) -> RungEntry:
        """Return the rung with this id.

        Raises:
            BundleError: if there is none; names those there are.
        """
        for entry in self.rungs:
            if entry.id == rung_id:
                return entry
        raise BundleError(f"bundle {self.name}: no rung {rung_id!r}; it has {', '.join(r.id for r in self.rungs)}")


class Recut(msgspec.Struct, frozen=True, kw_only=True):
    """A rung cut later from the base of ``bundle`` (digest of its manifest.json), as the ``recut`` key signed it."""

    v: Literal[1] = 1
    kind: Literal["recut"] = "recut"
    bundle: Sha256
    rung: RungEntry


def open_manifest(root: TrustRoot, data: bytes, what: str = "manifest.json") -> Manifest:
    """Verify and decode a manifest.

    Raises:
        secateur_agent.trust.TrustError: if it is not signed by a ``bundle`` key.
        BundleError: if what was signed contradicts itself or the specification.
    """
    try:
        manifest = open_signed(root, "bundle", data, Manifest, what)
    except MessageError as error:
        raise BundleError(str(error)) from None
    digests = {file.sha256 for file in manifest.files}
    if len({file.path for file in manifest.files}) != len(manifest.files):
        raise BundleError(f"{what}: two files have the same path")
    if len({rung.id for rung in manifest.rungs}) != len(manifest.rungs):
        raise BundleError(f"{what}: two rungs have the same id")
    for rung in manifest.rungs:
        if rung.recipe not in digests or rung.base not in digests:
            raise BundleError(f"{what}: rung {rung.id}: its recipe or base is not among the files")
    return manifest


def open_recut(root: TrustRoot, data: bytes, manifest: Manifest, manifest_sha256: str) -> Recut:
    """Verify and decode a rung that was cut later from the bundle that ``manifest`` describes.

    Raises:
        secateur_agent.trust.TrustError: if it is not signed by a ``recut`` key.
        BundleError: if it belongs to another bundle, takes an id that is in use, or names a base that the bundle lacks.
    """
    try:
        recut = open_signed(root, "recut", data, Recut, "re-cut rung")
    except MessageError as error:
        raise BundleError(str(error)) from None
    if recut.bundle != manifest_sha256:
        raise BundleError(f"re-cut rung {recut.rung.id}: it was cut from bundle {recut.bundle[:12]}, not this one")
    if any(rung.id == recut.rung.id for rung in manifest.rungs):
        raise BundleError(f"re-cut rung {recut.rung.id}: the bundle has a rung of this id already")
    if recut.rung.base not in {rung.base for rung in manifest.rungs if rung.precision == recut.rung.precision}:
        raise BundleError(f"re-cut rung {recut.rung.id}: its base is not a {recut.rung.precision} base of this bundle")
    return recut
