"""A TFLite file in whichever runtime is installed: ai-edge-litert, or tflite-runtime before it.

Files compute one sample at a time, and may have channels last where the network has them second. The name of such an input
or output tells: ``image:0,2,3,1`` lists the network's axes in the file's order.
"""

from __future__ import annotations

import ctypes
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

try:
    from ai_edge_litert import interpreter as lite
except ImportError:
    from tflite_runtime import interpreter as lite

_MOVED = re.compile(r"(.*):(0,2,1|0,2,3,1)")
"""The two ways in which the compiler moves axes; other names may end in a number, too."""


@dataclass(frozen=True)
class LiteTensor:
    """An input or output of a file.

    Attributes:
        name: in the network.
        shape: in the network, with batch 1.
        dtype: of its elements.
        axes: of the network's tensor in the file's order; empty if they are as they were.
        back: of the file's tensor in the network's order; likewise.
        index: number in the file.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    axes: tuple[int, ...]
    back: tuple[int, ...]
    index: int


class LiteModel:
    """A loaded file.

    Args:
        content: its bytes, or its path: then it is mapped, and pages that are not used can be given back.
        threads: inside an operator.
        delegates: shared libraries that take over what they can of the graph.

    Raises:
        ValueError: if the runtime refuses it or a delegate; RuntimeError, OSError likewise.

    Attributes:
        inputs: in the file's order.
        outputs: likewise.
        delegated: whether XNNPACK or a delegate runs part of it; None if this runtime does not tell.
    """

    def __init__(self, content: bytes | str, threads: int = 1, delegates: Sequence[str] = ()) -> None:
        given = {"model_content": content} if isinstance(content, bytes) else {"model_path": content}
        for path in delegates:
            ctypes.CDLL(path)  # a library that cannot be loaded leaves TFLite a delegate whose destructor fails
        loaded = [lite.load_delegate(path) for path in delegates]
        self._interpreter: Any = lite.Interpreter(**given, num_threads=threads, experimental_delegates=loaded or None)
        self._interpreter.allocate_tensors()
        self.inputs = [_tensor(found) for found in self._interpreter.get_input_details()]
        self.outputs = [_tensor(found) for found in self._interpreter.get_output_details()]
        self.delegated = _delegated(self._interpreter)
        # An interpreter holds the tensors of the run that is under way.
        self._lock = threading.Lock()

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return every output, by the network's name.

        Args:
            feeds: one array for each input, with the network's axes; samples are computed one by one.

        Raises:
            ValueError, RuntimeError: if the runtime fails.
        """
        placed = [_moved(np.asarray(feeds[each.name]), each.axes) for each in self.inputs]
        count = len(placed[0])
        found: list[list[NDArray[Any]]] = [[] for _ in self.outputs]
        with self._lock:
            for number in range(count):
                for each, array in zip(self.inputs, placed):
                    self._interpreter.set_tensor(each.index, array[number : number + 1])
                self._interpreter.invoke()
                for parts, each in zip(found, self.outputs):
                    parts.append(self._interpreter.get_tensor(each.index))
        return {each.name: _moved(np.concatenate(parts), each.back) for parts, each in zip(found, self.outputs)}


def _tensor(found: Mapping[str, Any]) -> LiteTensor:
    name, shape = str(found["name"]), tuple(int(size) for size in found["shape"])
    match = _MOVED.fullmatch(name)
    axes = tuple(int(axis) for axis in match[2].split(",")) if match else ()
    if match and sorted(axes) == list(range(len(shape))):
        back = tuple(axes.index(axis) for axis in range(len(axes)))
        shape = tuple(shape[place] for place in back)
        return LiteTensor(match[1], shape, np.dtype(found["dtype"]), axes, back, int(found["index"]))
    return LiteTensor(name, shape, np.dtype(found["dtype"]), (), (), int(found["index"]))


def _moved(array: NDArray[Any], axes: tuple[int, ...]) -> NDArray[Any]:
    return np.ascontiguousarray(array.transpose(axes)) if axes else array


def _delegated(interpreter: Any) -> bool | None:
    try:
        return any(found["op_name"] == "DELEGATE" for found in interpreter._get_ops_details())
    except (AttributeError, KeyError, ValueError):
        return None
