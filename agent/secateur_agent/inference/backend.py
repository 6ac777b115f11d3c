"""What a runtime must offer: one class per runtime, in ``<runtime>_backend.py`` beside this file."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from secateur_agent.bundle.manifest import TensorSpec
from secateur_agent.inference.control import LoadRung
from secateur_agent.inference.runtimes import backend_module, known_runtimes
from secateur_agent.inference.v2_codec import DTYPES
from secateur_agent.runtime_versions import runtime_version
from secateur_agent.store.blobs import file_digest

_WARM_UP_RUNS = 2


class BackendError(ValueError):
    """A rung cannot be loaded, or a run of it failed."""


class Backend(ABC):
    """A loaded rung. Subclassing with ``runtime=`` registers the runtime; `run` is called from several threads at once.

    Attributes:
        platform: what the inference protocol calls the runtime and its file format; the runtime's name if empty.
        providers: what executes the rung, in order of preference.
        fallback: why it is not the preferred provider; empty if it is.
    """

    registry: ClassVar[dict[str, type[Backend]]] = {}
    platform: ClassVar[str] = ""
    providers: tuple[str, ...] = ()
    fallback: str = ""

    def __init_subclass__(cls, runtime: str, **kwargs: Any) -> None:
        # Not `name`: ABCMeta of Python 3.10 has a parameter of that name, and refuses the class.
        super().__init_subclass__(**kwargs)
        Backend.registry[runtime] = cls

    @abstractmethod
    def __init__(self, load: LoadRung) -> None:
        """Load a model file that has been verified.

        Raises:
            BackendError: if the runtime refuses it, or it is not the network that ``load`` describes.
        """

    @abstractmethod
    def run(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Run the rung once.

        Args:
            feeds: one array per input, of the type and shape that ``load`` describes.

        Returns:
            One array per output, in the order of ``load.outputs``.

        Raises:
            BackendError: if the runtime fails.
        """

    @abstractmethod
    def close(self) -> None:
        """Give the memory back; nothing runs any more and nothing will."""


def open_backend(load: LoadRung) -> Backend:
    """Verify a rung's file by its digest, load it in its runtime and warm it up.

    Raises:
        BackendError: if the file is missing or altered, the runtime is unknown or not installed, or refuses the file.
    """
    verify_file(load)
    backend = _backend_class(load.runtime)(load)
    blank = {spec.name: np.zeros([max(size, 1) for size in spec.shape], DTYPES[spec.datatype]) for spec in load.inputs}
    for _ in range(_WARM_UP_RUNS):
        backend.run(blank)
    return backend


def verify_file(load: LoadRung) -> None:
    """Check a rung's file against its digest.

    Raises:
        BackendError: if it cannot be read or is not that file.
    """
    try:
        with Path(load.path).open("rb") as file:
            digest = file_digest(file)
    except OSError as error:
        raise BackendError(f"rung {load.rung}: {load.path}: {error.strerror}") from None
    if digest != load.sha256:
        raise BackendError(f"rung {load.rung}: {load.path}: altered (its digest is not the manifest's); write it again")


def check_tensors(
    what: str,
    specs: Sequence[TensorSpec],
    found: Mapping[str, tuple[str, Sequence[int]]],
    fits: Callable[[Sequence[int], Sequence[int]], bool],
) -> None:
    """Compare what the manifest says with what the file says.

    Args:
        what: names the rung and the side; nothing but the manifest's may be among inputs.
        specs: of the manifest.
        found: name → element type and shape in the file.
        fits: whether a shape of the file is the manifest's, in this order.

    Raises:
        BackendError: if it is not the network that the manifest describes.
    """
    left = dict(found)
    for spec in specs:
        if spec.name not in left:
            raise BackendError(f"{what} {spec.name!r}: not in the file, which has {', '.join(map(repr, left))}")
        datatype, shape = left.pop(spec.name)
        if datatype != spec.datatype or not fits(shape, spec.shape):
            said = f"the manifest says {spec.datatype} {list(spec.shape)}, the file {datatype} {list(shape)}"
            raise BackendError(f"{what} {spec.name!r}: {said}")
    if left and "input" in what:
        raise BackendError(f"{what} {', '.join(map(repr, left))}: in the file, but not in the manifest")


def one_line(error: BaseException, limit: int = 300) -> str:
    """Return a runtime's message on one line, at most ``limit`` characters long."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _backend_class(runtime: str) -> type[Backend]:
    if runtime not in Backend.registry:
        known = known_runtimes()
        if runtime not in known:
            raise BackendError(f"runtime {runtime!r}: not known here; there is {', '.join(known)}")
        try:
            importlib.import_module(backend_module(runtime))
        except ImportError as error:
            here = [f"{other} {version}" for other in known if (version := runtime_version(other))]
            rather = f"; or compile for what is here: {', '.join(here)}" if here else ""
            raise BackendError(
                f"runtime {runtime!r}: {one_line(error)}; install it with pip install 'secateur-agent[{runtime}]'{rather}"
            ) from None
    return Backend.registry[runtime]
