#!/bin/sh
# What the arm64 check of `make test` needs from Debian or Ubuntu. Without root or apt it installs nothing, and says so.
set -eu
if command -v qemu-aarch64-static >/dev/null && command -v mmdebstrap >/dev/null; then
    exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "arm64 check: install qemu-user-static, mmdebstrap and debian-archive-keyring for it" >&2
    exit 0
fi
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    qemu-user-static mmdebstrap debian-archive-keyring >/dev/null
