"""Shell that the mechanisms have in common: finding the payload on the board, running its setup program, quoting."""

from __future__ import annotations

from secateur.flash.first_boot.mechanism import MARK
from secateur.flash.payload import FOLDER, SETUP_PROGRAM

SCRIPT = "firstrun.sh"
LOG = "first-boot.log"
RUN_WORDS = ("systemd.run=", "systemd.run_", "systemd.unit=kernel-command-line.target")
"""Beginnings of the words in the kernel line that make systemd run a script instead of starting the system."""
# The setup program unpacks some hundred megabytes on a slow card; a hung one must not keep the board from starting for ever.
_SETUP_LIMIT_S = 1800


def quote(text: str) -> str:
    """Return a text as one word for a POSIX shell."""
    return "'" + text.replace("'", "'\"'\"'") + "'"


def run_words(folder: str) -> tuple[str, ...]:
    """Return the words for the kernel line that run the script once (systemd-run-generator(8)).

    Args:
        folder: where the board mounts the boot partition.

    If the script fails, the board must not restart for ever: it goes on to the normal system.
    """
    return (
        f"systemd.run={folder}/{SCRIPT}",
        "systemd.run_success_action=reboot",
        "systemd.run_failure_action=none",
        "systemd.unit=kernel-command-line.target",
    )


def find_and_install(folders: tuple[str, ...]) -> str:
    """Return a command for ``sh -c`` that runs the setup program wherever the boot partition is mounted.

    Args:
        folders: where to look; if it is nowhere, the partition is mounted by its label.
    """
    return (
        f"for at in {' '.join(folders)}; do [ -f $at/{FOLDER}/{SETUP_PROGRAM} ] && break; at=; done; "
        'if [ -z "$at" ]; then at=/run/secateur-card; mkdir -p $at; mount LABEL=CIDATA $at || exit 1; fi; '
        f"exec timeout {_SETUP_LIMIT_S} python3 $at/{FOLDER}/{SETUP_PROGRAM} install $at/{FOLDER}"
    )


def first_run(folder: str, commands: list[str]) -> bytes:
    """Return the script that systemd runs once.

    Args:
        folder: where the board mounts the boot partition.
        commands: what applies the settings, one shell command each; one that fails is noted and does not stop the others.

    It takes its own words out of ``cmdline.txt`` and itself off the card last, so that a power cut runs it again; what went
    wrong is in ``secateur/first-boot.log`` on the boot partition, which any computer can read.
    """
    ours = "; ".join(f"s/ {word.replace('.', '[.]')}[^ ]*//g" for word in RUN_WORDS)
    steps = "\n".join(f"step {command}" for command in commands)
    return f"""#!/bin/sh
# {MARK} Runs once, by systemd.run= in cmdline.txt, and undoes its own additions.
boot={folder}
log=$boot/{FOLDER}/{LOG}
failed=0
mkdir -p "$boot/{FOLDER}"
exec >>"$log" 2>&1
step() {{
  if "$@"; then echo "ok: $1 $2"; else echo "FAILED: $1 $2"; failed=1; fi
}}
{_HELPERS}
{steps}
step timeout {_SETUP_LIMIT_S} python3 "$boot/{FOLDER}/{SETUP_PROGRAM}" install "$boot/{FOLDER}"
if sed '{ours}' "$boot/cmdline.txt" >"$boot/cmdline.new" && [ -s "$boot/cmdline.new" ] && sync \\
    && mv "$boot/cmdline.new" "$boot/cmdline.txt" && sync; then
  # It may hold the key of a network.
  shred -u "$boot/{SCRIPT}" || rm -f "$boot/{SCRIPT}"
  echo "done; failed: $failed"
  sync
  exit 0
fi
echo "FAILED: $boot/cmdline.txt cannot be written; going on to the normal system"
# Not default.target: this start's is the one that ran this script.
systemctl --no-block start multi-user.target
exit 1
""".encode()


# The programs of Raspberry Pi OS where they are (raspberrypi-sys-mods, userconf-pi), plain Debian otherwise.
_HELPERS = r"""custom=/usr/lib/raspberrypi-sys-mods/imager_custom
userconf=/usr/lib/userconf-pi/userconf
set_hostname() {
  if [ -x $custom ]; then $custom set_hostname "$1"; return; fi
  old=$(cat /etc/hostname)
  echo "$1" >/etc/hostname && sed -i "s/127\.0\.1\.1.*$old/127.0.1.1\t$1/" /etc/hosts && hostname "$1"
}
set_user() {
  name=$1 hash=$2
  if [ -x $userconf ]; then $userconf "$name" "${hash:-!}"; return; fi
  id "$name" >/dev/null 2>&1 || useradd --create-home --shell /bin/bash --groups sudo "$name" || return 1
  if [ -n "$hash" ]; then echo "$name:$hash" | chpasswd -e; fi
}
set_keys() {
  name=$1; shift
  home=$(getent passwd "$name" | cut -d: -f6) && [ -d "$home" ] || return 1
  install -d -m 700 -o "$name" -g "$(id -gn "$name")" "$home/.ssh" || return 1
  for key in "$@"; do
    grep -qxF "$key" "$home/.ssh/authorized_keys" 2>/dev/null || echo "$key" >>"$home/.ssh/authorized_keys"
  done
  chown "$name:$(id -gn "$name")" "$home/.ssh/authorized_keys" && chmod 600 "$home/.ssh/authorized_keys"
}
set_ssh() {
  mkdir -p /etc/ssh/sshd_config.d
  echo "PasswordAuthentication $1" >/etc/ssh/sshd_config.d/10-secateur.conf && systemctl enable ssh
}
set_wlan() {
  ssid=$1 psk=$2 country=$3
  if [ -x $custom ]; then $custom set_wlan_country "$country" && $custom set_wlan "$ssid" ${psk:+"$psk"}; return; fi
  file=/etc/NetworkManager/system-connections/secateur.nmconnection
  [ -d "${file%/*}" ] || return 1
  (umask 077; printf '[connection]\nid=secateur\ntype=wifi\n[wifi]\nmode=infrastructure\nssid=%s\n' "$ssid" >$file
   [ -z "$psk" ] || printf '[wifi-security]\nkey-mgmt=wpa-psk\npsk=%s\n' "$psk" >>$file
   printf '[ipv4]\nmethod=auto\n[ipv6]\nmethod=auto\n' >>$file)
  rfkill unblock wifi
}"""
