#!/bin/sh
# What the tests need from Debian (12 or later) or Ubuntu: real mosquitto, SSH server and systemd, FAT tools, emulated arm64.
# Without root or apt it installs nothing, and says what is missing.
set -eu
packages="python3 mosquitto mtools dosfstools e2fsprogs fdisk xz-utils zstd openssh-server openssh-client sudo systemd
    systemd-container qemu-user-static mmdebstrap debian-archive-keyring proot"
missing=""
for package in $packages; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q "install ok installed" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "the tests need these Debian packages, which only root can install:$missing" >&2
    exit 0
fi
echo "installing$missing"
apt-get update -qq
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
