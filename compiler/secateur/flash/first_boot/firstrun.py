"""``firstrun.sh`` and ``systemd.run=``: Raspberry Pi OS Bookworm, and what is built like it.

Format: what Raspberry Pi Imager calls "systemd", doc/os_customisation_formats.md of raspberrypi/rpi-imager; ``cmdline.txt``
and ``config.txt`` as pi-gen makes them; systemd-run-generator(8).
"""

from __future__ import annotations

from collections.abc import Mapping

from secateur.flash.errors import FlashError
from secateur.flash.fat import FatPartition
from secateur.flash.first_boot.mechanism import MARK, Found, Mechanism
from secateur.flash.first_boot.raspberry import is_raspberry, mount_point, system
from secateur.flash.first_boot.script import RUN_WORDS, SCRIPT, first_run, quote, run_words
from secateur.flash.kernel_line import KERNEL_FLAGS, add_lines, merge
from secateur.flash.settings import Settings

_OTHERS = ("user-data", "rpi-preseed.toml", "custom.toml")


class FirstRun(Mechanism):
    """The script is run by systemd before the system proper, then the board restarts."""

    name = "firstrun.sh"
    images = "Raspberry Pi OS Bookworm: cmdline.txt and config.txt of pi-gen, no user-data"

    def detect(self, boot: FatPartition, where: str) -> Found | None:
        """See `Mechanism.detect`."""
        if not is_raspberry(boot) or any(boot.has(name) for name in _OTHERS):
            return None
        refuse_foreign_script(boot, where)
        folder = mount_point(boot)
        if not folder:
            return None
        # Trixie grows its root partition by a word of its own; an image of it without cloud-init still has systemd.
        suite = "trixie" if "resize" in boot.text("cmdline.txt").split() else "bookworm"
        name, target = system(boot, suite, where)
        reason = f"cmdline.txt and config.txt without user-data, mounted at {folder}"
        return Found(self.name, reason, name, folder, target)

    def files(self, boot: FatPartition, found: Found, settings: Settings) -> Mapping[str, bytes]:
        """See `Mechanism.files`."""
        files = {SCRIPT: first_run(found.folder, _commands(settings))}
        return {**files, **firmware_files(boot, settings, run_words(found.folder))}


def refuse_foreign_script(boot: FatPartition, where: str) -> None:
    """Refuse a card that another program has prepared, whose settings would be lost.

    Raises:
        FlashError: if it has.
    """
    script = boot.text(SCRIPT)
    if (script or "systemd.run=" in boot.text("cmdline.txt")) and MARK not in script:
        raise FlashError(
            f"{where}: another program has prepared it for its first boot ({SCRIPT}, or systemd.run= in cmdline.txt); "
            "boot the board once first, or flash the image as it was downloaded and give --wifi and --user here"
        )


def firmware_files(boot: FatPartition, settings: Settings, words: tuple[str, ...]) -> dict[str, bytes]:
    """Return ``config.txt`` if it changes, and ``cmdline.txt``, which arms the rest and so comes last.

    Args:
        boot: the boot partition.
        settings: what is wanted.
        words: for the kernel line, besides the flags of the sensors.
    """
    files: dict[str, bytes] = {}
    config = boot.text("config.txt")
    added = add_lines(config, settings.config_lines)
    if added != config:
        files["config.txt"] = added.encode("utf-8", "surrogateescape")
    line = merge(boot.text("cmdline.txt"), (*KERNEL_FLAGS, *words), remove=(*RUN_WORDS, "ds=nocloud"))
    files["cmdline.txt"] = line.encode("utf-8", "surrogateescape")
    return files


def _commands(settings: Settings) -> list[str]:
    commands = [f"set_hostname {quote(settings.hostname)}"]
    if settings.user is not None:
        user = settings.user
        commands.append(f"set_user {quote(user.name)} {quote(user.password_hash)}")
        if user.authorized_keys:
            commands.append(f"set_keys {quote(user.name)} {' '.join(quote(key) for key in user.authorized_keys)}")
        commands.append(f"set_ssh {'no' if user.authorized_keys else 'yes'}")
    if settings.wifi is not None:
        wifi = settings.wifi
        commands.append(f"set_wlan {quote(wifi.ssid)} {quote(wifi.psk)} {quote(wifi.country)}")
    return commands
