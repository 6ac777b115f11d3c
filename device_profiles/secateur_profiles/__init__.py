"""Device profiles: one TOML file per board, every number with its source."""

from __future__ import annotations

from secateur_profiles.loader import ProfileError, check, load, names
from secateur_profiles.schema import (
    Battery,
    Cpu,
    Grid,
    Memory,
    Power,
    Precision,
    Profile,
    Runtime,
    RuntimeName,
    Thermal,
)

__all__ = [
    "Battery",
    "Cpu",
    "Grid",
    "Memory",
    "Power",
    "Precision",
    "Profile",
    "ProfileError",
    "Runtime",
    "RuntimeName",
    "Thermal",
    "check",
    "load",
    "names",
]
