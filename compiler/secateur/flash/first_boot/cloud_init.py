"""cloud-init with its NoCloud source: Raspberry Pi OS Trixie, and Debian's images for clouds.

Format: cloud-init's documentation, "NoCloud" and "Network configuration version 2"; Raspberry Pi OS reads the files from its
boot partition ("Cloud-init on Raspberry Pi OS", raspberrypi.com), others from a FAT file system with the label CIDATA.
JSON is YAML: what is written is quoted as JSON.
"""

from __future__ import annotations

import json
import secrets
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from secateur.flash.errors import FlashError
from secateur.flash.fat import FatPartition
from secateur.flash.first_boot.firstrun import firmware_files, refuse_foreign_script
from secateur.flash.first_boot.mechanism import MARK, Found, Mechanism
from secateur.flash.first_boot.raspberry import FIRMWARE, is_raspberry, mount_point, system
from secateur.flash.first_boot.script import find_and_install
from secateur.flash.kernel_line import KERNEL_FLAGS
from secateur.flash.settings import Settings

_FOLDERS = ("/boot/firmware", "/boot/efi", "/boot")
_GRUB = "/etc/default/grub.d/90-secateur.cfg"
# cloud-init notes that a module has run before it runs it (FileSemaphores of its helpers.py): after a power cut in the
# middle it would leave out the rest for ever. Until the setup program has ended, every start is a first one.
# It flushes nothing either: after such a cut its files are there and empty, and it fails over some of them.
_STATE = "/var/lib/cloud"
_INSTANCE = f"{_STATE}/instance"
_ENDED_NAME = "secateur-setup-ended"
_ENDED = f"{_INSTANCE}/{_ENDED_NAME}"
# What comes before bootcmd fails, too. systemd takes a drop-in from the kernel's command line, as a credential
# (systemd-debug-generator(8), systemd 256 and later; an older one takes no notice): cloud-init then starts from nothing.
_DROP_IN = f"""[Service]
ExecStartPre=-/bin/sh -c 'cd {_STATE} && {{ [ -e instance/{_ENDED_NAME} ] || find instances data sem -type f -delete; }}'
"""
_CREDENTIAL = "systemd.unit-dropin.cloud-init-local.service"
_START_ANEW = f"systemd.set_credential_binary={_CREDENTIAL}:{b64encode(_DROP_IN.encode()).decode()}"
_RUN_AGAIN = (
    f"[ -e {_ENDED} ] || {{ rm -f {_INSTANCE}/sem/config_*; find {_STATE}/data -type f -empty -exec rm -f {{}} +; sync; }}"
)


class RaspberryCloudInit(Mechanism):
    """Raspberry Pi OS Trixie: the files are in the image, all commented out."""

    name = "cloud-init"
    images = "Raspberry Pi OS Trixie: user-data and meta-data beside cmdline.txt"

    def detect(self, boot: FatPartition, where: str) -> Found | None:
        """See `Mechanism.detect`."""
        if not (is_raspberry(boot) and boot.has("user-data") and boot.has("meta-data")):
            return None
        refuse_foreign_script(boot, where)
        _refuse_foreign_data(boot, where)
        name, target = system(boot, "trixie", where)
        return Found(self.name, "user-data and meta-data beside cmdline.txt", name, mount_point(boot) or FIRMWARE, target)

    def files(self, boot: FatPartition, found: Found, settings: Settings) -> Mapping[str, bytes]:
        """See `Mechanism.files`."""
        instance = _instance(settings)
        files = {"user-data": _user_data(settings, []), "meta-data": _meta_data(instance)}
        words = [f"ds=nocloud;i={instance}", _START_ANEW]
        if settings.wifi is not None:
            files["network-config"] = _network(settings)
            # The country in the network's configuration comes after the first scan; the kernel's comes before.
            words.append(f"cfg80211.ieee80211_regdom={settings.wifi.country}")
        return {**files, **firmware_files(boot, settings, tuple(words))}


class DebianCloudInit(Mechanism):
    """Debian's images for clouds and for QEMU: an EFI system partition, which gets the label that cloud-init looks for."""

    name = "cloud-init (CIDATA)"
    images = "Debian generic cloud images: EFI/debian, or the label CIDATA, on the boot partition"
    label = "CIDATA"

    def detect(self, boot: FatPartition, where: str) -> Found | None:
        """See `Mechanism.detect`."""
        if is_raspberry(boot):
            return None
        labelled = boot.label().upper() == self.label
        systems = (
            {name.lower() for name in boot.names("EFI")} if any(name.lower() == "efi/" for name in boot.names()) else set()
        )
        if not labelled and "debian/" not in systems:
            return None
        _refuse_foreign_data(boot, where)
        reason = "its boot partition has the label CIDATA" if labelled else "EFI/debian on its boot partition"
        return Found(self.name, reason, "Debian with cloud-init", "/boot/efi")

    def files(self, boot: FatPartition, found: Found, settings: Settings) -> Mapping[str, bytes]:
        """See `Mechanism.files`."""
        if settings.wifi is not None:
            raise FlashError("--wifi: Debian's images for clouds have no Wi-Fi software; leave it out and connect a cable")
        # GRUB's configuration is on the root partition, which is not written here: the board does it, for its next start.
        flags = " ".join(KERNEL_FLAGS)
        grub = (
            f"[ -e /proc/pressure/memory ] || {{ mkdir -p /etc/default/grub.d && "
            f"echo 'GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX {flags}\"' >{_GRUB} && update-grub; }}"
        )
        return {
            "meta-data": _meta_data(_instance(settings)),
            "user-data": _user_data(settings, [["sh", "-c", grub]]),
        }


def _instance(settings: Settings) -> str:
    # New for every card: cloud-init applies its files once for each instance id, and never again.
    return f"secateur-{settings.hostname}-{secrets.token_hex(4)}"


def _refuse_foreign_data(boot: FatPartition, where: str) -> None:
    text = boot.text("user-data")
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if lines and MARK not in text:
        raise FlashError(
            f"{where}: its user-data already holds settings ({lines[0].strip()[:40]!r}) which would get lost; "
            "flash the image as it was downloaded, and give --wifi and --user here"
        )


def _user_data(settings: Settings, before: list[list[str]]) -> bytes:
    commands = list(before)
    table: dict[str, Any] = {
        "hostname": settings.hostname,
        # Only the line of the own name, so that a later change of the name lasts.
        "manage_etc_hosts": "localhost",
        "manage_resolv_conf": False,
        # The only one of cloud-init's modules that runs at every start, and before all that matter here.
        "bootcmd": [["sh", "-c", _RUN_AGAIN]],
    }
    if settings.user is not None:
        user = settings.user
        # "user", not "users": the system's default user is renamed and keeps its groups. By that default it needs no
        # password for sudo, which is right only for who has none.
        table["user"] = {"name": user.name, "shell": "/bin/bash", "lock_passwd": not user.password_hash}
        if user.password_hash:
            table["user"] |= {"passwd": user.password_hash, "sudo": None}
        if user.authorized_keys:
            table["user"]["ssh_authorized_keys"] = list(user.authorized_keys)
        table["ssh_pwauth"] = not user.authorized_keys
        # cloud-init writes the keys and starts nothing; Raspberry Pi OS has sshd switched off.
        commands.append(["systemctl", "enable", "--now", "ssh"])
    if settings.wifi is not None:
        commands.append(["rfkill", "unblock", "wifi"])
    commands.append(["sh", "-c", f"({find_and_install(_FOLDERS)}); status=$?; : >{_ENDED}; sync; exit $status"])
    table["runcmd"] = commands
    return _yaml(table, "#cloud-config\n")


def _meta_data(instance: str) -> bytes:
    # "local": applied before the network is up, which may never be. The host name comes from the user data: a name here is
    # set before bootcmd could mend anything, and cloud-init 22 stops at the empty note of it that a power cut leaves.
    return _yaml({"instance-id": instance, "dsmode": "local"})


def _network(settings: Settings) -> bytes:
    wifi = settings.wifi
    assert wifi is not None
    # An open network must say so: without "auth" netplan asks for a password.
    access = {"password": wifi.psk} if wifi.psk else {"auth": {"key-management": "none"}}
    wlan = {
        "dhcp4": True,
        "optional": True,
        "regulatory-domain": wifi.country,
        "access-points": {wifi.ssid: access},
    }
    # This file replaces the default, so that the cable must be named too.
    wired = {"dhcp4": True, "dhcp6": True, "optional": True}
    return _yaml({"network": {"version": 2, "ethernets": {"eth0": wired}, "wifis": {"wlan0": wlan}}})


def _yaml(table: Mapping[str, Any], head: str = "") -> bytes:
    lines = "".join(f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in table.items())
    return f"{head}# {MARK}\n{lines}".encode()
