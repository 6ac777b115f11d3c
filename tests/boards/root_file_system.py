"""The root of the emulated boards: Debian's own packages for arm64, configured as Raspberry Pi OS Lite where it matters."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.boards.build_cache import EPOCH_S, HERE, cached, run, say
from tests.boards.kernel_modules import MODULES, build_modules

DISK_ID = "5ec47e12"
ROOT_BYTES = 1536 << 20
# What is laid over all of them; a release may have more, in `root_<its name>`.
OVERLAY = HERE / "root"

_PACKAGES = """
    linux-image-arm64 initramfs-tools zstd systemd-sysv libpam-systemd systemd-timesyncd dbus udev kmod python3
    python3-minimal openssh-server sudo iproute2 procps ca-certificates e2fsprogs dosfstools i2c-tools less netbase
"""
_MMDEBSTRAP = """
    --architectures=arm64 --variant=minbase --mode=root --skip=check/qemu --dpkgopt=force-confold
    --dpkgopt=path-exclude=/usr/share/man/* --dpkgopt=path-exclude=/usr/share/locale/*
    --dpkgopt=path-exclude=/usr/share/doc/*
"""


@dataclass(frozen=True)
class Suite:
    """A release of Debian.

    Attributes:
        name: its code name.
        version: its number.
        packages: more of them than all have.
        kernel_source: the package to build the stand-ins of hardware from, `` for a root without them: cross-building takes
            tools of this machine's release.
    """

    name: str
    version: int
    packages: tuple[str, ...] = ()
    kernel_source: str = ""

    @property
    def all_packages(self) -> list[str]:
        """All that are asked for."""
        return [*_PACKAGES.split(), *self.packages]

    @property
    def overlays(self) -> list[Path]:
        """Folders whose files are laid over it."""
        return [OVERLAY, *HERE.glob(f"root_{self.name}")]

    @property
    def sources(self) -> tuple[str, ...]:
        """Lines of sources.list."""
        main = (f"deb http://deb.debian.org/debian {self.name}{updates} main" for updates in ("", "-updates"))
        return (*main, f"deb http://deb.debian.org/debian-security {self.name}-security main")

    @property
    def fetch_kernel(self) -> str:
        """A script that fetches what modules are built from.

        The kernel's headers must be of the very version that was installed, so they come with the same package lists.
        """
        if not self.kernel_source:
            return ""
        return (
            'cd "$2" && V=$(ls "$1/lib/modules") && export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" && '
            f'apt-get -qq download "linux-headers-$V" "linux-headers-${{V%-arm64}}-common" {self.kernel_source}'
        )


BOOKWORM = Suite("bookworm", 12, kernel_source="linux-source-6.1")
TRIXIE = Suite("trixie", 13, packages=("cloud-init",))

# Nothing of these can be on such a board; they are most of the kernel package's 400 MB.
_NOT_ON_A_BOARD = """
    sound drivers/gpu drivers/media drivers/staging drivers/infiniband drivers/net/wireless drivers/net/ethernet
    drivers/scsi drivers/iio drivers/input drivers/bluetooth drivers/isdn drivers/net/can drivers/mtd drivers/comedi
    drivers/nvme drivers/target drivers/accel drivers/video drivers/ata drivers/message drivers/crypto drivers/pinctrl
    drivers/net/wwan drivers/net/fddi drivers/edac drivers/md drivers/hid drivers/usb/serial
    drivers/usb/misc drivers/usb/storage net/bluetooth net/mac80211 net/wireless net/sctp net/openvswitch net/batman-adv
    net/ceph net/rds net/tipc fs/xfs fs/btrfs fs/ocfs2 fs/gfs2 fs/ceph fs/nfs fs/nfsd fs/cifs fs/smb fs/f2fs
    fs/jfs fs/reiserfs fs/ubifs fs/nilfs2 fs/afs fs/9p
"""
# No work in the background of a test: no updates, no trimming, no checks of LVM snapshots, no file systems for debugging.
_MASKED = """
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer
    systemd-pstore.service systemd-binfmt.service cloud-init-hotplugd.socket dev-hugepages.mount dev-mqueue.mount
    sys-kernel-debug.mount sys-kernel-tracing.mount sys-fs-fuse-connections.mount
"""
_FSTAB = f"""proc            /proc           proc    defaults          0       0
PARTUUID={DISK_ID}-01  /boot/firmware  vfat    defaults          0       2
PARTUUID={DISK_ID}-02  /               ext4    defaults,noatime  0       1
"""


def root_file_system(suite: Suite = BOOKWORM) -> Path:
    """Build it, or take it from the cache.

    Returns:
        A folder with `root.ext4`, the files for the FAT partition in `boot/`, and `packages.txt`.
    """
    packages = cached(
        f"packages-{suite.name}",
        [*suite.all_packages, *_MMDEBSTRAP.split(), *suite.sources, suite.fetch_kernel, OVERLAY / "etc/initramfs-tools"],
        lambda folder: _install(suite, folder),
    )
    recipe: list[Path | str] = [Path(__file__), HERE / "kernel_modules.py", *suite.overlays, packages.name]
    return cached(f"root-{suite.name}", recipe, lambda folder: _configure_all(suite, packages, folder))


def _install(suite: Suite, folder: Path) -> None:
    """Debian's packages, as a tar; takes minutes, for their installation scripts run in an emulated arm64."""
    (folder / "debs").mkdir()
    hooks = [
        # The initramfs is made by the kernel's installation: what it shall hold must be there by then.
        f'--essential-hook=cp -r {OVERLAY}/etc/initramfs-tools "$1/etc/"'
    ]
    if suite.fetch_kernel:
        hooks.append(f"--customize-hook=sh -euc '{suite.fetch_kernel}' fetch \"$1\" {folder}/debs")
    run(
        "mmdebstrap", *_MMDEBSTRAP.split(), "--include=" + ",".join(suite.all_packages), *hooks,
        suite.name, folder / "packages.tar", *suite.sources,
    )  # fmt: skip


def _configure_all(suite: Suite, packages: Path, folder: Path) -> None:
    root = folder / "root"
    root.mkdir()
    run("tar", "-xf", packages / "packages.tar", "--numeric-owner", "--xattrs", "-C", root)
    release = next(entry.name for entry in (root / "lib/modules").iterdir())
    _trim_modules(root / "lib/modules" / release)
    if suite.kernel_source:
        say(f"kernel {release}: building {', '.join(MODULES)}")
        build_modules(packages / "debs", folder / "kernel-build", root / "lib/modules" / release / "extra")
        shutil.rmtree(folder / "kernel-build")
    _configure(suite, root)
    _in_root(root, "depmod", release)
    _take_boot_files(root, folder / "boot", release)
    (folder / "packages.txt").write_text(_in_root(root, "dpkg-query", "-W", "-f", "${Package} ${Version}\\n"))
    _clean(root)
    _make_ext4(root, folder / "root.ext4")
    shutil.rmtree(root)


def _in_root(root: Path, *command: str) -> str:
    return run("chroot", root, "env", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", *command)


def _trim_modules(modules: Path) -> None:
    for name in _NOT_ON_A_BOARD.split():
        shutil.rmtree(modules / "kernel" / name, ignore_errors=True)


def _configure(suite: Suite, root: Path) -> None:
    for overlay in suite.overlays:
        for source in sorted(overlay.rglob("*")):
            target = root / source.relative_to(overlay)
            if source.is_dir():
                target.mkdir(exist_ok=True)
                continue
            shutil.copyfile(source, target)
            target.chmod(0o755 if source.stat().st_mode & 0o100 else 0o644)
    (root / "etc/fstab").write_text(_FSTAB)
    (root / "boot/firmware").mkdir(exist_ok=True)
    _in_root(root, "useradd", "--create-home", "--shell", "/bin/bash", "--groups", "sudo", "pi")
    _in_root(root, "sh", "-c", "echo pi:raspberry | chpasswd && usermod --pass='*' root")
    _in_root(root, "systemctl", "enable", "--quiet", "systemd-networkd", "sshswitch")
    _in_root(root, "systemctl", "disable", "--quiet", "ssh")
    _in_root(root, "systemctl", "mask", "--quiet", *_MASKED.split())


def _take_boot_files(root: Path, boot: Path, release: str) -> None:
    """Kernel, initramfs and device trees go to the FAT partition, under the names that the firmware looks for."""
    boot.mkdir()
    (root / f"boot/vmlinuz-{release}").rename(boot / "kernel8.img")
    (root / f"boot/initrd.img-{release}").rename(boot / "initramfs8")
    for tree in sorted((root / f"usr/lib/linux-image-{release}/broadcom").glob("bcm283*-rpi-*.dtb")):
        shutil.copyfile(tree, boot / tree.name)
    shutil.rmtree(root / f"usr/lib/linux-image-{release}")
    for link in ("vmlinuz", "initrd.img", "vmlinuz.old", "initrd.img.old", "boot/vmlinuz", "boot/initrd.img"):
        (root / link).unlink(missing_ok=True)


def _clean(root: Path) -> None:
    for pattern in ("etc/ssh/ssh_host_*", "var/lib/apt/lists/*_*", "var/cache/apt/*.bin", "var/cache/ldconfig/aux-cache"):
        for file in root.glob(pattern):
            file.unlink()
    for file in (root / "var/log").rglob("*"):
        if file.is_file():
            file.unlink()
    # Empty: made at the first boot of each card, so that cards are not the same machine.
    (root / "etc/machine-id").write_text("")
    (root / "var/lib/dbus/machine-id").unlink(missing_ok=True)
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    # No name server: a board of a test finds this host only, at 10.0.2.2, and nothing sets its clock.
    (root / "etc/resolv.conf").write_text("")
    for path in [root, *root.rglob("*")]:
        if path.lstat().st_mtime > EPOCH_S:
            os.utime(path, (EPOCH_S, EPOCH_S), follow_symlinks=False)


def _make_ext4(root: Path, image: Path) -> None:
    with image.open("wb") as file:
        file.truncate(ROOT_BYTES)
    run(
        "mke2fs", "-q", "-t", "ext4", "-L", "rootfs", "-d", root, "-m", "1", "-O", "^huge_file,^64bit",
        "-U", "5ec47e12-0000-4000-8000-000000000002", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard", image,
    )  # fmt: skip
