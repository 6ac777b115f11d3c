"""A model file as ONNX Runtime's optimiser left it, kept beside the model, so that later starts need not optimise again.

Building a session of an int8 ResNet-20 takes 5 to 7 ms from it instead of 19 (x86), and holds Python's lock for 1 to 2 ms at
a stretch instead of 3.6: while it does, no request is answered. What it computes is the same to the bit.

A kept file holds for one version of the runtime and one processor, for the optimiser chooses by what kernels there are. Its
digest lies beside it: one that does not match, or that the runtime refuses, is made anew.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime

from secateur_agent.inference.control import LoadRung
from secateur_agent.store import StoreError, write_atomic
from secateur_agent.store.blobs import file_digest

_CPUINFO = Path("/proc/cpuinfo")


class OptimizedFile:
    """Where the optimised form of a rung's file is kept.

    Args:
        load: the rung; ``cache`` names the folder.
    """

    def __init__(self, load: LoadRung) -> None:
        self._stem = load.sha256[:16]
        made_for = f"{onnxruntime.__version__} {load.precision} {processor()}"
        key = hashlib.sha256(made_for.encode()).hexdigest()[:8]
        self.path = Path(load.cache) / f"{self._stem}-{key}.optimized"
        self._digest = self.path.with_suffix(".sha256")

    @property
    def sound(self) -> bool:
        """Whether it is there, whole."""
        try:
            with self.path.open("rb") as file:
                return self._digest.read_text("ascii").strip() == file_digest(file)
        except (OSError, ValueError):
            return False

    def keep(self, draft: Path) -> None:
        """Take a file that the runtime wrote, and forget what was made for another version or processor.

        Raises:
            OSError: if it cannot be kept.
        """
        with draft.open("rb") as file:
            digest = file_digest(file)
            os.fsync(file.fileno())
        os.replace(draft, self.path)
        try:
            write_atomic(self._digest, digest.encode())
        except StoreError as error:
            raise OSError(str(error)) from None
        for other in self.path.parent.glob(f"{self._stem}-*"):
            if other.stem != self.path.stem:
                other.unlink(missing_ok=True)

    def remove_drafts(self) -> None:
        """Delete what processes left that were killed while they wrote it."""
        for draft in self.path.parent.glob(f"{self._stem}-*.draft-*"):
            with contextlib.suppress(OSError, ValueError):
                if not Path(f"/proc/{int(draft.suffix.removeprefix('.draft-'))}").exists():
                    draft.unlink()

    def forget(self) -> None:
        """Delete it."""
        for path in (self._digest, self.path):
            path.unlink(missing_ok=True)


def kept_session(load: LoadRung, options: Callable[[], Any], start: Callable[[str, Any], Any]) -> Any:
    """Start a session from the kept form of a rung's file; if there is none yet, from the file itself, and keep that form.

    Args:
        load: the rung, with a cache folder.
        options: makes session options.
        start: starts a session of a path with options.
    """
    kept = OptimizedFile(load)
    if kept.sound:
        plain = options()
        plain.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            return start(str(kept.path), plain)
        except Exception:  # its exception classes share no base of their own
            kept.forget()
    kept.remove_drafts()
    draft = kept.path.with_suffix(f".draft-{os.getpid()}")
    saving = options()
    saving.optimized_model_filepath = str(draft)
    try:
        kept.path.parent.mkdir(parents=True, exist_ok=True)
        session = start(load.path, saving)
        kept.keep(draft)
    except Exception:  # a full disk must not keep a rung from serving, and a file that is refused is refused again here
        session = start(load.path, options())
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
    return session


@functools.cache
def processor(cpuinfo: Path = _CPUINFO) -> str:
    """Return what tells processors apart whose kernels differ: the architecture and its features.

    Args:
        cpuinfo: where Linux describes it.
    """
    try:
        lines = cpuinfo.read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    features = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return f"{platform.machine()} {features}"
