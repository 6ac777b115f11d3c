"""What this device measured of its rungs, kept across restarts."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec

from secateur_agent.protocol.messages import RungMeasurement
from secateur_agent.store import write_atomic


class Measurements:
    """Measurements of the rungs of each installed model, in one small file.

    Args:
        path: the file. One that cannot be read is started anew: measurements can be made again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._by_model: dict[str, dict[str, RungMeasurement]] = {}
        with contextlib.suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError):
            self._by_model = msgspec.json.decode(path.read_bytes(), type=dict[str, dict[str, RungMeasurement]])

    def of(self, manifest_sha256: str) -> tuple[RungMeasurement, ...]:
        """Return the measurements of one model's rungs."""
        return tuple(self._by_model.get(manifest_sha256, {}).values())

    def put(self, manifest_sha256: str, measured: list[RungMeasurement]) -> None:
        """Keep new measurements; those of the same rungs are replaced.

        Raises:
            secateur_agent.store.files.StoreError: if they cannot be written.
        """
        self._by_model.setdefault(manifest_sha256, {}).update({each.rung: each for each in measured})
        self._save()

    def keep_only(self, manifests: set[str]) -> None:
        """Forget the models that are not installed any more."""
        gone = [digest for digest in self._by_model if digest not in manifests]
        for digest in gone:
            del self._by_model[digest]
        if gone:
            self._save()

    def _save(self) -> None:
        write_atomic(self._path, msgspec.json.encode(self._by_model))
