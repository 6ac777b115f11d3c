"""What the search tried: every network whose distance was measured, kept on disk so that an interrupted search goes on.

A search that is started again asks for the same networks in the same order, so what was measured costs nothing.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from secateur.ir import Network, Samples, arrays_of
from secateur.ir.groups import Keep, KeepKey, keep_key

TRIALS = ".search-*.jsonl"
"""Names of the files."""


class Trial(msgspec.Struct, frozen=True):
    """One network that was tried: keep-counts, distance of its outputs, and the seconds that measuring it took."""

    keep: dict[str, int]
    distance: float
    seconds: float


class Trials:
    """Distances of networks from the full one, each measured once.

    Args:
        distance: from keep-counts to the distance of the cut and recalibrated network's outputs.
        file: where trials are kept, one JSON object a line; None keeps them in memory alone. Lines that are damaged or
            half-written are passed over: what they said is measured again.
        clock: seconds.
    """

    def __init__(
        self, distance: Callable[[Keep], float], file: Path | None = None, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._distance, self._file, self._clock = distance, file, clock
        self._known: dict[KeepKey, Trial] = {}
        self._asked: dict[KeepKey, Trial] = {}
        self._seconds = 0.0
        for trial in _read(file):
            self._known[keep_key(trial.keep)] = trial

    @property
    def seconds(self) -> float:
        """What the trials that were asked for took to measure, now or in an earlier run."""
        return self._seconds

    @property
    def asked(self) -> list[Trial]:
        """The trials that were asked for in this run, each once, in order."""
        return list(self._asked.values())

    def distance(self, keep: Keep) -> float:
        """Return the distance at ``keep``: remembered, or measured now."""
        key = keep_key(keep)
        trial = self._known.get(key)
        if trial is None:
            began = self._clock()
            distance = self._distance(keep)
            trial = self._known[key] = Trial(dict(keep), distance, round(self._clock() - began, 4))
            self._note(trial)
        if key not in self._asked:
            self._asked[key] = trial
            self._seconds += trial.seconds
        return trial.distance

    def _note(self, trial: Trial) -> None:
        if self._file is None:
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("ab") as lines:
            lines.write(msgspec.json.encode(trial) + b"\n")


def trials_file(folder: Path, network: Network, inputs: Samples) -> Path:
    """Return where trials of a network on these inputs are kept: another network, order, data or release has another file.

    Args:
        folder: where the compilation writes.
        network: the full network, sorted.
        inputs: calibration inputs.
    """
    digest = hashlib.sha256(version("secateur").encode())
    tables = [value for table in network.tables.values() for value in (table.scale, table.shift)]
    values: list[NDArray[np.generic]] = [*network.weights.values(), *tables, *arrays_of(inputs)]
    for value in values:
        digest.update(str(value.shape).encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    return folder / TRIALS.replace("*", digest.hexdigest()[:16])


def _read(file: Path | None) -> list[Trial]:
    if file is None or not file.is_file():
        return []
    decoder = msgspec.json.Decoder(Trial)
    found = []
    for line in file.read_bytes().splitlines():
        try:
            trial = decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        if np.isfinite(trial.distance) and trial.seconds >= 0:
            found.append(trial)
    return found
