#!/bin/sh
# What the emulated boards need from Debian (12 or later), and the registration of QEMU for arm64 programs. Root only.
set -eu
packages="qemu-system-arm qemu-user-static mmdebstrap debian-archive-keyring mtools dosfstools e2fsprogs fdisk zstd xz-utils
    nbdkit mosquitto openssh-client gcc-aarch64-linux-gnu make device-tree-compiler"
if [ "$(id -u)" != 0 ]; then
    echo "install_packages.sh: run it as root (it installs Debian packages and registers QEMU with the kernel)" >&2
    exit 1
fi
missing=""
for package in $packages; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q "install ok installed" || missing="$missing $package"
done
if [ -n "$missing" ]; then
    echo "installing$missing"
    apt-get update -qq
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi
# In a container without systemd nobody registers the interpreter: a kernel that lacks binfmt_misc fails here, and says so.
registry=/proc/sys/fs/binfmt_misc
[ -e $registry/register ] || mount -t binfmt_misc binfmt_misc $registry
[ -e $registry/qemu-aarch64 ] || cat /usr/lib/binfmt.d/qemu-aarch64.conf > $registry/register
