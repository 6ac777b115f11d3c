"""The three devices of the demonstration: replayed board, configuration, agent, traffic."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from secateur.bundle.keys import Keys
from secateur.demo.board import SIMULATED, Board
from secateur.demo.processes import Processes, free_port
from secateur.demo.traffic import Traffic
from secateur_profiles import Profile, load


@dataclass
class DemoDevice:
    """One agent with its replayed board.

    Attributes:
        rate_hz: requests per second; ``batch`` windows in each.
        reprunes: of this device, as the host recorded them.
    """

    id: str
    profile: Profile
    board: Board
    port: int
    rate_hz: float
    batch: int
    traffic: Traffic | None = None
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where its agent serves."""
        return f"http://127.0.0.1:{self.port}"


def make_devices(folder: Path) -> list[DemoDevice]:
    """Make the devices and their boards, at rest."""
    found = []
    for device, profile_name, rate_hz, batch in (
        ("pi-kitchen", "raspberry-pi-4b", 20.0, 1),
        ("jetson-gate", "jetson-orin-nano", 20.0, 1),
        # A clinic's hub: 64 windows in each request, so that the network's energy counts beside the idle power.
        ("phone-clinic", "android-phone", 15.0, 64),
    ):
        profile = load(profile_name)
        board = Board(folder / device / "board", profile.cpu.clock_mhz, profile.memory.total_mb)
        if profile.battery is not None:
            board.battery(1000.0, 1000.0, 0.0, charging=True)
        if profile.power.rails:
            board.rail(profile.power.idle_mw)
        found.append(DemoDevice(device, profile, board, free_port(), rate_hz, batch))
    return found


def start_agent(processes: Processes, folder: Path, device: DemoDevice, broker_url: str, keys: Keys) -> None:
    """Write the agent's configuration and start it."""
    lines = {
        "device": device.id,
        "profile": device.profile.name,
        "broker": broker_url,
        "state_dir": "state",
        "trust_root": str(keys.root_path.resolve()),
        "sysfs_root": str(device.board.root.resolve()),
        "listen": f"127.0.0.1:{device.port}",
        "simulated": SIMULATED,
    }
    text = "".join(f'{key} = "{value}"\n' for key, value in lines.items()) + "threads = 1\ntick_s = 0.5\nreport_s = 1.0\n"
    config = folder / device.id / "agent.toml"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(text)
    processes.start(device.id, "secateur_agent", "run", "--config", str(config))
