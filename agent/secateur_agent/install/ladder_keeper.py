"""The ladder that is served now: the committed model with its re-cut rungs, less those that cannot run at present."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from secateur_agent.bundle.manifest import BundleError
from secateur_agent.helper_processes import HelperEnded
from secateur_agent.install.installer import Installer
from secateur_agent.install.materialising import materialise_error, materialise_job
from secateur_agent.install.recuts import Recuts
from secateur_agent.install.workplace import Workplace
from secateur_agent.installed_ladder import InstalledLadder, models_folder, open_installed
from secateur_agent.store import StoreError

_BAN_S = 600.0


class LadderKeeper:
    """Opens the ladder, bans rungs, repairs their files.

    Args:
        place: store and helpers.
        installer: what is committed.
        recuts: which rungs were cut later.

    Attributes:
        ladder: the ladder, None before the first model.
        changed: whether it, or what is banned, has changed since somebody set this to False.
    """

    OWNER = "repair"

    def __init__(self, place: Workplace, installer: Installer, recuts: Recuts) -> None:
        self._place = place
        self._installer = installer
        self._recuts = recuts
        self._opened: object = None
        self._banned: dict[str, float] = {}
        self._repaired: set[str] = set()
        self._repairing = ""
        self._collected: object = None
        self.ladder: InstalledLadder | None = None
        self.changed = True

    @property
    def banned(self) -> frozenset[str]:
        """The rungs that cannot run at present."""
        return frozenset(self._banned)

    def refresh(self, now_s: float) -> bool:
        """Open the ladder again if it may have changed; return whether it has."""
        installed = self._installer.state.committed
        digest = installed.manifest_sha256 if installed else ""
        entries = self._recuts.entries(digest)
        measured = self._place.measurements.of(digest)
        key = (installed, entries, measured)
        if key == self._opened:
            return self.changed
        self._opened = key
        if installed is None:
            self.ladder = None
        else:
            if self.ladder is None or self.ladder.manifest_sha256 != digest:
                self._banned.clear()
                self._repaired.clear()
            try:
                self.ladder = open_installed(self._place.store, installed, entries)
            except BundleError as error:
                self._place.announce("fault", str(error))
                self.ladder = None
        self.changed = True
        return True

    def load_failed(self, rung: str, now_s: float) -> None:
        """A rung did not load: keep it out of the ladder, and write its file again once.

        If it fails again after that, and so does every other, the model before takes over.
        """
        self._banned[rung] = now_s + _BAN_S
        self.changed = True
        ladder = self.ladder
        if ladder is None:
            return
        if rung not in self._repaired and rung in ladder.entries and not self._repairing:
            self._repairing = rung
            self._repaired.add(rung)
            recuts = self._recuts.refs(ladder.manifest_sha256, rung)
            self._place.helpers.submit(
                materialise_job(
                    self.OWNER,
                    self._place.store.root,
                    ladder.manifest_sha256,
                    self._place.trust_root_path,
                    models_folder(self._place.store.root, ladder.manifest_sha256),
                    recuts,
                    [rung],
                )
            )
        elif self._repaired >= set(ladder.entries) and self._banned.keys() >= set(ladder.entries):
            self._installer.roll_back("no rung of it loads any more")

    def on_helper(self, ended: HelperEnded) -> None:
        """Take the result of a repair."""
        rung, self._repairing = self._repairing, ""
        error = materialise_error(ended)
        if error:
            self._place.announce("fault", f"{rung} cannot be written again: {error}")
            return
        self._banned.pop(rung, None)
        self.changed = True

    def ban_from(self, rung: str, ladder: Sequence[str], now_s: float) -> None:
        """Keep ``rung`` and all above it out for a while; the last of the ladder always stays.

        Args:
            rung: the rung that took too much memory.
            ladder: the ids of the rungs that may run, most accurate first.
            now_s: monotonic time.
        """
        if rung not in ladder:
            return
        above = ladder[: ladder.index(rung) + 1]
        for each in above if len(above) < len(ladder) else above[:-1]:
            self._banned[each] = now_s + _BAN_S
        self.changed = True

    def expire(self, now_s: float) -> bool:
        """Let rungs back in whose time is over; return whether there were any."""
        over = [rung for rung, until_s in self._banned.items() if now_s >= until_s]
        for rung in over:
            del self._banned[rung]
        self.changed = self.changed or bool(over)
        return bool(over)

    def collect(self, others: Collection[str] = ()) -> None:
        """Remove the files of models that are neither installed nor kept for a rollback. Nothing else may write now.

        Args:
            others: digests of blobs that are kept, too.
        """
        models = self._installer.models()
        manifests = {model.manifest.sha256 for model in models}
        keep = {ref.sha256 for model in models for ref in (model.manifest, *model.files)}
        keep |= self._recuts.kept_blobs(manifests) | set(others)
        if keep == self._collected:
            return
        try:
            self._place.store.collect(keep)
            self._place.measurements.keep_only(manifests)
        except StoreError as error:
            self._place.announce("fault", str(error))
            return
        self._collected = keep
