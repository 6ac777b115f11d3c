"""The process that cuts rungs: kept warm, one job at a time, gone when the controller is gone."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import msgspec

from secateur.bundle.keys import load_keys
from secateur_agent.protocol.messages import Constraints, RungMeasurement


class RecutJob(msgspec.Struct, frozen=True, kw_only=True):
    """What to cut: from which workspace, for which profile, within what, with which measurements of that device."""

    workspace: str
    profile: str
    keys: str
    constraints: Constraints
    measurements: tuple[RungMeasurement, ...]


class RecutResult(msgspec.Struct, frozen=True, kw_only=True):
    """A cut rung: encoded entry, recipe, signed envelope, and the seconds it took."""

    entry: bytes
    recipe: bytes
    envelope: bytes
    seconds: float


class RecutFailed(ValueError):
    """A rung could not be cut; the text is one line."""


def cut(job: RecutJob) -> RecutResult:
    """Cut a rung with `secateur.recutting.recut`.

    Raises:
        RecutFailed: with one line, whatever went wrong.
    """
    try:
        from secateur import recutting

        rung = recutting.recut(
            Path(job.workspace), job.profile, job.constraints, job.measurements, load_keys(Path(job.keys))
        )
    except Exception as error:
        raise RecutFailed(" ".join(f"{error}".split())[:500] or type(error).__name__) from None
    return RecutResult(
        entry=msgspec.json.encode(rung.entry), recipe=rung.recipe, envelope=rung.envelope, seconds=rung.seconds
    )


def warm() -> None:
    """Import what `cut` needs, so that the first ask does not wait for it."""
    try:
        import secateur.recutting  # noqa: F401
    except ImportError:
        return


def new_pool() -> ProcessPoolExecutor:
    """Return a pool of one process; spawned, since a fork of threads and event loop would inherit their locks."""
    return ProcessPoolExecutor(
        1, mp_context=multiprocessing.get_context("spawn"), initializer=_prepare, initargs=(os.getpid(),)
    )


def _prepare(parent: int) -> None:
    """Ctrl-C is the controller's business; and a controller that was killed must not leave this process behind."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
