"""A rung while it is written as a TFLite file: which form of each tensor there is, and how one is made of another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from secateur.export.formats import Cut
from secateur.export.program import BaseSlice
from secateur.export.tflite import axes, schema
from secateur.export.tflite.model import ModelWriter, Quantization, one_scale
from secateur.ir import ActivationParameters, Node, Precision, SecateurError
from secateur.ir.placement import Placement

_KINDS = {"float32": "<f4", "int32": "<i4", "int64": "<i8", "bool": "|b1"}
_FLEXIBLE = {
    *("Affine", "Relu", "Clip", "Sigmoid", "Tanh", "HardSwish", "HardSigmoid", "LeakyRelu", "PRelu", "Elu", "Add", "Sub"),
    *("Mul", "Div", "Min", "Max", "Concat", "Pad", "Slice", "Take", "ScalarAffine", "Gelu", "Softplus", "Mish", "Softmax"),
}
"""Operators that take a tensor either way, and leave it so."""


class Unwritable(SecateurError):
    """A network cannot be written as a TFLite file."""

    def __init__(self, node: Node, why: str) -> None:
        where = f" ({node.source})" if node.source else ""
        super().__init__(f"tflite: {node.op}{where} {why}; compile for a profile with onnxruntime")


class RungWriter:
    """Writes one rung.

    A tensor of the network has up to four forms in the file: plain or last (see `axes`), float32 or int8. Operators `get`
    the form that they compute on; a `new` one is what they give.

    Attributes:
        model: the file.
        operator: `ModelWriter.operator` of it.
        network: the rung.
        cut: the rung with what it shares with the base.
        precision: of the file.
        place: where eight bits stand; None if tensors between layers are float.
    """

    def __init__(self, cut: Cut, precision: Precision) -> None:
        self.model = ModelWriter()
        self.operator = self.model.operator
        self.cut, self.network, self.precision = cut, cut.network, precision
        self.place = Placement(cut.network, set(cut.weight_scales)) if precision.activations else None
        self.readers = cut.network.consumers()
        self._forms: dict[str, dict[tuple[bool, bool], int]] = {}
        self._home: dict[str, tuple[bool, bool]] = {}
        self._parameters = dict(cut.activations)
        self._spatial: dict[str, bool] = {}
        self._scalars: dict[float, int] = {}
        self._kinds: dict[str, str] = {}

    # --- tensors ------------------------------------------------------------------------------------------------------

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape in the network, with batch 1."""
        return tuple(max(1, size) if axis == 0 else size for axis, size in enumerate(self.network.shapes[name]))

    def kind(self, name: str) -> str:
        """Return the element type that a tensor has in the file if it is not int8."""
        return self._kinds.get(name) or _KINDS[self.network.dtype(name)]

    def is_last(self, name: str) -> bool:
        """Whether a tensor lies with channels last."""
        return self._home[name][0]

    def parameters(self, name: str) -> ActivationParameters:
        """Return the quantization parameters of a tensor."""
        return self._parameters[name]

    def set_parameters(self, name: str, parameters: ActivationParameters) -> None:
        """Give a tensor other parameters than calibration found: an operator's own, or those of its input."""
        self._parameters[name] = parameters

    def new(self, name: str, last: bool = False, integer: bool = False, kind: str = "") -> int:
        """Add the tensor of the file for a tensor of the network, in one of its forms.

        Args:
            name: in the network.
            last: whether it lies with channels last.
            integer: whether it is int8.
            kind: element type if not; as the network says if empty.
        """
        shape = self.shape(name)
        last = last and len(shape) in axes.MOVED
        placed = axes.last_shape(shape) if last else shape
        if integer:
            return self._put(name, last, True, self.model.tensor(placed, "|i1", self._quantization(name)))
        if kind:
            self._kinds[name] = kind
        return self._put(name, last, False, self.model.tensor(placed, self.kind(name)))

    def get(self, name: str, last: bool = False, integer: bool = False) -> int:
        """Return a tensor in the form that an operator takes; it is converted if there is no such form yet."""
        last = last and len(self.network.shapes[name]) in axes.MOVED
        forms = self._forms[name]
        if (last, integer) in forms:
            return forms[last, integer]
        if (last, not integer) not in forms:
            other = integer if (not last, integer) in forms else not integer
            self._move(name, forms[not last, other], last, other)
            if other == integer:
                return forms[last, integer]
        operator = "QUANTIZE" if integer else "DEQUANTIZE"
        before = forms[last, not integer]
        return self.operator(operator, [before], self.new(name, last, integer), integer=not integer)

    def temporary(self, shape: Sequence[int], kind: str = "<f4") -> int:
        """Add a tensor that only the next operator of the file reads."""
        return self.model.tensor(shape, kind)

    def like(self, name: str, shape: Sequence[int], integer: bool) -> int:
        """Add a tensor of another shape with a tensor's type and parameters."""
        if integer:
            return self.model.tensor(shape, "|i1", self._quantization(name))
        return self.model.tensor(shape, self.kind(name))

    def placed(self, name: str, last: bool) -> list[int]:
        """Return the shape that a tensor has in the file."""
        shape = self.shape(name)
        return axes.last_shape(shape) if last and len(shape) in axes.MOVED else list(shape)

    def axis(self, name: str, axis: int, last: bool) -> int:
        """Return where an axis of a tensor lies in the file."""
        rank = len(self.network.shapes[name])
        return axes.last_axis(rank, axis) if last and rank in axes.MOVED else axis % rank

    # --- constants ----------------------------------------------------------------------------------------------------

    def scalar(self, value: float) -> int:
        """Return a float32 constant of rank 0; all rungs of a ladder have the same."""
        if value not in self._scalars:
            self._scalars[value] = self.model.fixed(np.asarray(value, "<f4"))
        return self._scalars[value]

    def numbers(self, values: Sequence[int] | Sequence[Sequence[int]]) -> int:
        """Return int32 that are the same in every rung: axes, permutations, amounts of padding."""
        return self.model.fixed(np.asarray(values, "<i4"))

    def sizes(self, values: Sequence[int] | Sequence[Sequence[int]]) -> int:
        """Return int32 that may differ between rungs: shapes, which channels are meant, how many are padded."""
        return self.model.private(np.asarray(values, "<i4"))

    def vector(self, values: np.ndarray, shape: Sequence[int] | None = None) -> int:
        """Return a vector of float32 of this rung."""
        return self.model.private(np.asarray(values).astype("<f4"), shape)

    def shared(self, name: str, moved: tuple[int, ...] = (), shape: Sequence[int] | None = None) -> int:
        """Return a weight that is stored in float, as float32.

        Args:
            name: of the weight.
            moved: its axes in the file's order; empty if they stay.
            shape: in the file; that of the slice unless given.
        """
        piece = BaseSlice(name, self.cut.index[name], tuple(self.cut.shapes[name]), moved)
        half = self.precision.weights == "<f2"
        chosen = piece.shape if shape is None else shape
        stored = self.model.constant(piece, chosen, "<f2" if half else "<f4")
        return self.operator("DEQUANTIZE", [stored], self.temporary(chosen)) if half else stored

    # --- operators ----------------------------------------------------------------------------------------------------

    def follows(self, node: Node, integer: bool = False) -> tuple[str, int]:
        """Return the tensor that an operator may give at once, and the activation that it then ends with.

        Args:
            node: that computes something (of a layer, the scale and shift behind it).
            integer: whether it gives int8: then a quantized range that begins at 0 clips by itself.
        """
        if self.place is not None and integer:
            clipped = self.place.clipped(node)
            if clipped != node.output:
                clip = self.readers[node.output][0]
                return clipped, schema.RELU6 if clip.attrs.get("max") == 6 else schema.RELU
            return node.output, schema.NONE
        readers = self.readers.get(node.output, [])
        if len(readers) == 1 and node.output not in self.network.outputs:
            reader = readers[0]
            bounds = (reader.attrs.get("min"), reader.attrs.get("max"))
            if reader.op == "Relu":
                return reader.output, schema.RELU
            if reader.op == "Clip" and bounds in _CLIPS:
                return reader.output, _CLIPS[bounds]
        return node.output, schema.NONE

    def eight_bits(self, node: Node) -> bool:
        """Whether an operator without weights that has an integer kernel computes on int8."""
        place = self.place
        if place is None:
            return False
        known = all(name in self._parameters for name in (*node.inputs, node.output))
        exact = any(place.wants_exact(node, number) for number in range(len(node.inputs)))
        given = place.clipped(node)
        return known and not exact and (given in self.network.outputs or not place.stays_float(node, given))

    # --- inputs and outputs -------------------------------------------------------------------------------------------

    def input(self, name: str) -> int:
        """Add an input of the network."""
        shape, kind = self.shape(name), self.kind(name)
        if not (len(shape) in axes.MOVED and self._taken_as_image(name)):
            return self._put(name, False, False, self.model.tensor(shape, kind, name=name))
        given = self.model.tensor(axes.moved_shape(shape), kind, name=axes.moved_name(name, len(shape)))
        if len(shape) == 3:
            self._reshape(given, self.new(name, True), axes.last_shape(shape))
            return given
        return self._put(name, True, False, given)

    def output(self, name: str) -> int:
        """Name the tensor that is an output of the network."""
        last, shape = self.is_last(name), self.shape(name)
        found = self.get(name, last)
        if last and len(shape) == 3:
            moved = axes.moved_shape(shape)
            found = self._reshape(found, self.temporary(moved, self.kind(name)), moved)
        elif name in self.network.inputs:
            found = self._reshape(found, self.temporary(self.placed(name, last), self.kind(name)), self.placed(name, last))
        self.model.name(found, axes.moved_name(name, len(shape)) if last else name)
        return found

    def _taken_as_image(self, name: str) -> bool:
        if name not in self._spatial:
            rank = len(self.network.shapes[name])
            self._spatial[name] = any(
                reader.op in axes.SPATIAL
                or (
                    reader.op in _FLEXIBLE
                    and len(self.network.shapes[reader.output]) == rank
                    and self._taken_as_image(reader.output)
                )
                for reader in self.readers.get(name, [])
            )
        return self._spatial[name]

    # --- forms --------------------------------------------------------------------------------------------------------

    def _put(self, name: str, last: bool, integer: bool, tensor: int) -> int:
        self._forms.setdefault(name, {})[last, integer] = tensor
        self._home.setdefault(name, (last, integer))
        return tensor

    def _quantization(self, name: str) -> Quantization:
        found = self._parameters[name]
        return one_scale(found.scale, found.zero_point)

    def _reshape(self, before: int, after: int, shape: Sequence[int], integer: bool = False) -> int:
        return self.operator("RESHAPE", [before, self.sizes(shape)], after, integer=integer)

    def _move(self, name: str, before: int, last: bool, integer: bool) -> None:
        """Move a tensor's channels to the last axis, or back."""
        shape = self.shape(name)
        after = self.new(name, last, integer)
        if all(size == 1 for size in shape[2:]):  # the same values in the same order
            self._reshape(before, after, self.placed(name, last), integer)
        elif len(shape) == 4:
            perm = (0, 2, 3, 1) if last else (0, 3, 1, 2)
            self.operator("TRANSPOSE", [before, self.numbers(perm)], after, integer=integer)
        else:
            kind = "|i1" if integer else self.kind(name)
            moved = axes.moved_shape(shape)
            between = self.model.tensor(moved, kind, self._quantization(name) if integer else None)
            if last:
                self.operator("TRANSPOSE", [before, self.numbers((0, 2, 1))], between, integer=integer)
                self._reshape(between, after, axes.last_shape(shape), integer)
            else:
                self._reshape(before, between, moved, integer)
                self.operator("TRANSPOSE", [between, self.numbers((0, 2, 1))], after, integer=integer)


_CLIPS = {(0, 6): schema.RELU6, (-1, 1): schema.RELU_N1_TO_1, (0, None): schema.RELU}
