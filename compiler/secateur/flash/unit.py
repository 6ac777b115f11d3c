"""The systemd unit of the agent: not root, watched, and shut in as far as its sensors and its runtime allow."""

from __future__ import annotations

from secateur_profiles import Profile

NAME = "secateur-agent.service"
_SUPERVISOR_MB = 64
"""Supervisor and a short-lived helper beside the worker."""
_MARGIN = 1.25
"""Between the limit that makes the kernel reclaim and the one that makes it kill."""

_UNIT = """\
# Written by 'secateur flash'; changes are lost at the next one. Put yours into {name}.d/*.conf.
[Unit]
Description=Secateur agent: serves a ladder of networks
Documentation=man:systemd.service(5)
Wants=network-online.target
After=network.target time-set.target
StartLimitIntervalSec=0

[Service]
Type=notify
User=secateur
Group=secateur
# Neither is worth a board that does not serve: what fails in them is in the log.
ExecStartPre=-+/usr/bin/python3 -I /opt/secateur/secateur-setup.pyz before-start
ExecStart=/opt/secateur/current/bin/python -I -m secateur_agent run --config /etc/secateur/agent.toml
ExecStartPost=-+/usr/bin/python3 -I /opt/secateur/secateur-setup.pyz after-start
Restart=always
RestartSec=2
TimeoutStartSec=180
TimeoutStopSec=20
WatchdogSec=60
# A worker that the kernel ends for its memory is a step down the ladder, not the end of the service.
OOMPolicy=continue
MemoryHigh={high_mb}M
MemoryMax={max_mb}M
TasksMax=128

# What it may write.
ProtectSystem=strict
ReadWritePaths=/var/lib/secateur
ProtectHome=yes
PrivateTmp=yes
UMask=0077

# What it may do.
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
RestrictSUIDSGID=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM
RemoveIPC=yes
{code}

# What it may see: sensors below /sys and /proc are read, nothing there is changed.
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
ProtectProc=invisible
DevicePolicy=closed
{devices}

[Install]
WantedBy=multi-user.target
"""

_GPU_DEVICES = (
    "/dev/nvmap rw",
    "/dev/nvhost-gpu rw",
    "char-nvhost rw",
    "char-nvidia rw",
    "/dev/nvidiactl rw",
    "char-drm rw",
)


def unit_file(profile: Profile) -> str:
    """Return the unit for a class of boards.

    Args:
        profile: its memory limit and its runtime's providers decide what the unit allows.
    """
    worker_mb = profile.memory.worker_limit_mb
    high_mb = int(min(worker_mb + _SUPERVISOR_MB, profile.memory.total_mb))
    gpu = any(provider.startswith(("CUDA", "Tensorrt", "TensorRT")) for provider in profile.runtime.providers)
    # A GPU's driver compiles code while it runs.
    code = "# MemoryDenyWriteExecute is left out: the GPU's driver compiles code." if gpu else "MemoryDenyWriteExecute=yes"
    devices = [f"DeviceAllow={each}" for each in _GPU_DEVICES] if gpu else []
    if gpu:
        devices.append("SupplementaryGroups=video")  # who may open them; base-passwd has it on every Debian and Ubuntu
    return _UNIT.format(
        name=NAME,
        high_mb=high_mb,
        max_mb=int(min(high_mb * _MARGIN, profile.memory.total_mb)),
        code=code,
        devices="\n".join(devices),
    )
