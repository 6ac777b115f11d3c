"""Which block devices are cards that may be erased: removable, not in use, not the system's, as ``lsblk`` tells."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec

from secateur.flash.errors import FlashError

GB = 10**9
DEFAULT_CAP = 256 * GB
_COLUMNS = "NAME,SIZE,TYPE,RO,RM,HOTPLUG,TRAN,MODEL,SERIAL,FSTYPE,LABEL,MOUNTPOINTS"
_COMMAND = ("lsblk", "--bytes", "--json", "--paths", "-o", _COLUMNS)
_SYSTEM = ("/boot", "/home", "/usr", "/var", "/etc", "/opt", "/nix", "[SWAP]")
_HELD_TYPES = ("lvm", "crypt", "mpath", "dm", "md", "bcache")
_HELD_SYSTEMS = {
    "LVM2_member": "LVM",
    "linux_raid_member": "a RAID",
    "crypto_LUKS": "an encrypted volume",
    "zfs_member": "ZFS",
    "bcache": "bcache",
    "swap": "swap",
    "ddf_raid_member": "a RAID",
    "isw_raid_member": "a RAID",
}
_CARD_BUSES = ("usb", "mmc", None)
_MOST_DEVICES = 4096


class BlockDevice(msgspec.Struct, frozen=True):
    """One device of ``lsblk``, with what is built on it.

    Its words: ``rm`` removable medium, ``hotplug`` removable device, ``tran`` bus, ``ro`` read-only; bytes in ``size``.
    ``mmc`` is not of ``lsblk``: what the kernel calls a device of that bus, ``SD``, or ``MMC`` if it is soldered on.
    """

    name: str
    type: str
    size: int | None = None
    ro: bool = False
    rm: bool = False
    hotplug: bool = False
    tran: str | None = None
    model: str | None = None
    serial: str | None = None
    mmc: str | None = None
    fstype: str | None = None
    label: str | None = None
    mountpoints: tuple[str | None, ...] = ()
    children: tuple[BlockDevice, ...] = ()

    def all(self) -> Iterator[BlockDevice]:
        """Yield the device and all that is built on it."""
        yield self
        for child in self.children:
            yield from child.all()

    @property
    def is_mmc(self) -> bool:
        """Whether it is on an MMC bus, as SD cards and eMMC are; older versions of ``lsblk`` do not tell the bus."""
        return self.tran == "mmc" or Path(self.name).name.startswith("mmcblk")

    @property
    def identity(self) -> tuple[object, ...]:
        """What tells it from another one that gets its name."""
        return (self.size, self.tran, self.model, self.serial)

    @property
    def mounts(self) -> tuple[tuple[str, str], ...]:
        """Device and place of all that is mounted from it."""
        return tuple((device.name, place) for device in self.all() for place in device.mountpoints if place)


class _Listing(msgspec.Struct):
    blockdevices: tuple[BlockDevice, ...]


def parse_listing(text: str | bytes) -> tuple[BlockDevice, ...]:
    """Read what ``lsblk --bytes --json`` prints.

    Raises:
        FlashError: if it is something else, or of a version that does not tell all mount points.
    """
    try:
        # Older versions print numbers and booleans as text.
        devices = msgspec.json.decode(text, type=_Listing, strict=False).blockdevices
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise FlashError(f"lsblk: cannot be understood ({error}); util-linux 2.37 or later is needed") from None
    if sum(1 for top in devices for _ in top.all()) > _MOST_DEVICES:
        raise FlashError(f"lsblk: more than {_MOST_DEVICES} devices; cannot be right")
    return devices


def with_mmc_types(devices: tuple[BlockDevice, ...], blocks: Path) -> tuple[BlockDevice, ...]:
    """Say of every device of the bus ``mmc`` what it is: ``lsblk`` calls soldered eMMC as pluggable as an SD card.

    Args:
        devices: what ``lsblk`` tells.
        blocks: the kernel's folder of block devices, ``/sys/block``.
    """

    def typed(device: BlockDevice) -> BlockDevice:
        if not device.is_mmc:
            return device
        try:
            kind = (blocks / Path(device.name).name / "device" / "type").read_text("ascii", "replace").strip()
        except OSError:
            kind = ""
        return msgspec.structs.replace(device, mmc=kind)

    return tuple(map(typed, devices))


def list_devices() -> tuple[BlockDevice, ...]:
    """Return this machine's block devices.

    Raises:
        FlashError: if ``lsblk`` is not there or too old.
    """
    try:
        done = subprocess.run(_COMMAND, capture_output=True, timeout=60, check=False)
    except FileNotFoundError:
        raise FlashError("lsblk is not installed, which tells cards from disks; cards are written on Linux only") from None
    except subprocess.TimeoutExpired:
        raise FlashError("lsblk does not answer: a device does not; take out and in again what was inserted last") from None
    if done.returncode:
        raise FlashError(
            f"lsblk failed ({done.stderr.decode(errors='replace').strip()}); util-linux 2.37 or later is needed"
        )
    return with_mmc_types(parse_listing(done.stdout), Path("/sys/block"))


def cards(devices: tuple[BlockDevice, ...], cap: int = DEFAULT_CAP) -> tuple[BlockDevice, ...]:
    """Return the devices that may be erased.

    Args:
        devices: all of them.
        cap: bytes that a card has at most.
    """
    return tuple(device for device in devices if _objection(device, cap) is None)


def require_card(name: str, devices: tuple[BlockDevice, ...], needed: int, cap: int = DEFAULT_CAP) -> BlockDevice:
    """Return a device that may be erased.

    Args:
        name: its path, resolved.
        devices: all devices.
        needed: bytes that it must hold.
        cap: bytes that a card has at most.

    Raises:
        FlashError: if it may not: says why, and which may.
    """
    found = next((device for device in devices if device.name == name), None)
    if found is None:
        owner = next((top for top in devices if any(device.name == name for device in top.all())), None)
        if owner is not None:
            raise FlashError(f"{name} is a part of {owner.name}; an image is written to a whole device")
        raise FlashError(f"{name}: no such block device; {_offer(devices, cap)}")
    objection = _objection(found, cap)
    if objection is not None:
        raise FlashError(f"{name} {objection}; {_offer(devices, cap)}")
    size = found.size or 0
    if size < needed:
        raise FlashError(f"{name} is too small: it has {size / GB:.2f} GB, the image {needed / GB:.2f}; take a larger card")
    return found


def describe(device: BlockDevice) -> str:
    """Return a device in words, for the question whether to erase it."""
    labels = [one.label for one in device.all() if one.label]
    holds = f", holds {', '.join(labels[:4])}" if labels else ""
    return f"{device.name}: {(device.model or 'card').strip()}, {(device.size or 0) / GB:.1f} GB{holds}"


def _offer(devices: tuple[BlockDevice, ...], cap: int) -> str:
    found = cards(devices, cap)
    return f"cards here: {', '.join(describe(device) for device in found)}" if found else "no card is inserted"


def _objection(device: BlockDevice, cap: int) -> str | None:
    """Why a device must not be erased, None if it may be. What would do most harm comes first."""
    for name, place in device.mounts:
        if place == "/" or any(place == system or place.startswith(f"{system}/") for system in _SYSTEM):
            return f"is the disk of this system ({name} is {'swap' if place == '[SWAP]' else f'mounted at {place}'})"
    for part in device.all():
        if part.type in _HELD_TYPES or part.type.startswith("raid"):
            return f"is in use: {part.name} is built on it ({part.type})"
        if part.fstype in _HELD_SYSTEMS:
            return f"is in use: {part.name} belongs to {_HELD_SYSTEMS[part.fstype]}"
    if device.type != "disk":
        return f"is not a card (lsblk calls it {device.type!r})"
    if device.tran not in _CARD_BUSES or not (device.rm or device.hotplug):
        return f"is not removable ({device.tran or 'a built-in disk'})"
    if device.is_mmc and device.mmc != "SD":
        return f"is not removable (the kernel calls it {device.mmc or 'nothing'}, not SD: soldered memory)"
    if not device.size:
        return "has no medium; insert a card"
    if device.ro:
        return "is read-only; move the card's lock switch"
    if device.size > cap:
        most = f"{cap / GB:.0f} GB; '--max-size' changes that"
        return f"has {device.size / GB:.0f} GB, more than a card is expected to have ({most})"
    for name, place in device.mounts:
        return f"is mounted ({name} at {place}); unmount it: 'umount {name}'"
    return None
