"""What mosquitto is told: configuration, access rules, and how systemd starts it.

Formats: mosquitto.conf(5), systemd.unit(5).
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from secateur_agent.protocol.messages import MAX_CHUNK_BYTES
from secateur_agent.protocol.topics import ROOT

CONTROLLER = "_controller"
"""The controller's user. Not an id, so no device can have it."""

_CONF = """\
# Written by 'secateur broker config'; run it again instead of editing this file.

# Nothing is kept on disk: a power cut cannot leave a file that mosquitto refuses to start with. Host and devices publish
# again whatever was retained, as soon as they are connected again.
persistence false

# Every listener has rules of its own: one that is added later, in another file, opens nothing by accident.
per_listener_settings true

# A chunk has at most {chunk} bytes; who sends what is much larger is disconnected.
max_packet_size {packet}
# Told to clients as Receive Maximum; the controller has at most 60 messages in flight.
max_inflight_messages 100
# For one client that is slow or away. What is dropped is asked for again.
max_queued_messages 5000
max_queued_bytes 33554432
max_keepalive 600
sys_interval 0
set_tcp_nodelay true

log_dest stderr
log_type error
log_type warning
log_type notice
connection_messages false
pid_file {folder}/mosquitto.pid
# Only if it is started as root.
user {user}

listener {port}{address}
certfile {folder}/server.pem
keyfile {folder}/server.key
allow_anonymous false
# Nobody can take another client's place by its name at the broker.
use_username_as_clientid true
password_file {folder}/passwords
acl_file {folder}/acl
"""

_ACL = """\
# Written by 'secateur broker config'; run it again instead of editing this file.

# A device, by the user that it logs in as: what it says itself, what is said to it, and models, which are for all (mosquitto
# warns that this last rule names no user; it is meant so).
pattern write {root}/d/%u/up/#
pattern read {root}/d/%u/dn/#
pattern read {root}/b/#

user {controller}
topic readwrite {root}/#
"""

_DROP_IN = """\
# Copy to /etc/systemd/system/mosquitto.service.d/secateur.conf
[Service]
User={user}
ExecStartPre=
ExecStart=
ExecStart=/usr/sbin/mosquitto -c {folder}/mosquitto.conf
Restart=always
RestartSec=2
"""


class ConfError(ValueError):
    """The folder cannot be named in mosquitto's configuration."""


def configuration(folder: Path, port: int, address: str) -> dict[str, str]:
    """Return name → content of the files that tell mosquitto what to do.

    Args:
        folder: where they will be; absolute.
        port: TCP port of the listener, with TLS.
        address: address that it listens on; '' for all.

    Raises:
        ConfError: if the folder's name has a character that these formats cannot hold.
    """
    if any(not character.isprintable() or character in '%"\\ $' for character in str(folder)):
        raise ConfError(f"{folder}: a folder with spaces, '%', '$', quotes or control characters in its name; take another")
    fields = {
        "folder": folder,
        "port": port,
        "address": f" {address}" if address else "",
        "user": owner(folder),
        "chunk": MAX_CHUNK_BYTES,
        "packet": 2 * MAX_CHUNK_BYTES,
        "root": ROOT,
        "controller": CONTROLLER,
    }
    return {
        "mosquitto.conf": _CONF.format(**fields),
        "acl": _ACL.format(**fields),
        "systemd-drop-in.conf": _DROP_IN.format(**fields),
    }


def owner(folder: Path) -> str:
    """Return the user that the folder belongs to: mosquitto has to read it."""
    found = folder.stat().st_uid if folder.exists() else os.getuid()
    try:
        return pwd.getpwuid(found).pw_name
    except KeyError:
        return str(found)
