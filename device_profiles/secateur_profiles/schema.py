"""What a device profile says: one typed record per board.

A profile is read from TOML and never changes afterwards. Units are in the names; every number has a source
(see `Profile.sources`), because a planner that budgets milliwatts on a guess must be able to say so.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

RuntimeName = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]*\Z", max_length=32)]
"""A runtime is what an agent has a backend for; the profile does not know which there are."""
Precision = Literal["fp32", "fp16", "int8", "int8-weight-only", "int8-symmetric"]

# Upper bounds are far beyond any real board: they catch a wrong unit (bytes for MB) and infinity.
Slug = Annotated[str, Meta(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*\Z", max_length=64)]
Text = Annotated[str, Meta(min_length=1, max_length=2000)]
Version = Annotated[str, Meta(pattern=r"^[0-9]+(\.[0-9]+){0,3}\Z")]
Count = Annotated[int, Meta(ge=1, le=4096)]
ClockMhz = Annotated[float, Meta(gt=0, le=20_000)]
MacsPerCycle = Annotated[float, Meta(gt=0, le=4096)]
BandwidthGbS = Annotated[float, Meta(gt=0, le=10_000)]
OverheadUs = Annotated[float, Meta(ge=0, le=100_000)]
MegaBytes = Annotated[float, Meta(gt=0, le=16_777_216)]
MilliWatts = Annotated[float, Meta(gt=0, le=10_000_000)]
MilliWattHours = Annotated[float, Meta(gt=0, le=100_000_000)]
Celsius = Annotated[float, Meta(ge=-40, le=200)]
ChannelMultiple = Annotated[int, Meta(ge=1, le=1024)]


class Section(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of a profile. Unknown keys are errors: a misspelt limit must not silently mean "no limit"."""


class Runtime(Section, frozen=True, kw_only=True):
    """What executes a rung on the device."""

    name: RuntimeName
    providers: Annotated[list[Text], Meta(min_length=1)]
    """Execution provider names in order of preference, as ONNX Runtime spells them."""
    threads: Count
    """Threads inside one operator; latency budgets are for this number."""
    min_version: Version
    """The oldest version of the runtime that a rung for this profile may need."""


class Cpu(Section, frozen=True, kw_only=True):
    """The numbers of the roofline. Peaks, not averages: a roofline is a lower bound on latency."""

    arch: Text
    """As `uname -m` prints it."""
    model: Text
    cores: Count
    clock_mhz: ClockMhz
    fp32_macs_per_cycle: MacsPerCycle
    """Multiply-accumulates per cycle of one core."""
    int8_macs_per_cycle: MacsPerCycle
    """Multiply-accumulates per cycle of one core, as the runtime's int8 kernels on this core can use them."""
    memory_bandwidth_gb_s: BandwidthGbS
    """Peak of the memory interface, all cores together, 10^9 bytes per second."""
    op_overhead_us: OverheadUs
    """Fixed cost of one operator, however small its work."""


class Memory(Section, frozen=True, kw_only=True):
    """Memory in MB of 2^20 bytes."""

    total_mb: MegaBytes
    runtime_base_mb: MegaBytes
    """Resident set of a worker that has loaded the runtime and no model."""
    worker_limit_mb: MegaBytes
    """Resident set that a worker may not exceed; a rung that peaks above it fails its trial."""


class Power(Section, frozen=True, kw_only=True):
    """Power of the whole board."""

    idle_mw: MilliWatts
    active_mw: MilliWatts
    """Total of the board with all cores busy, not the increase over idle."""
    rails: list[Text]
    """Labels of the rails that the board's own sensors measure; empty if it has none."""
    energy_model: Text
    """How energy per inference is derived on this board, in one sentence."""


class Battery(Section, frozen=True, kw_only=True):
    """Present only on boards that carry one."""

    capacity_mwh: MilliWattHours


class Thermal(Section, frozen=True, kw_only=True):
    """Temperatures of the processor, in °C."""

    throttle_c: Celsius
    """Clocks begin to fall here."""
    critical_c: Celsius
    """Clocks are forced down or the board powers off here."""


class Grid(Section, frozen=True, kw_only=True):
    """Which widths run fast."""

    channels: ChannelMultiple
    """Keep-counts are multiples of this: odd widths are slower than the wider multiple above them."""


class Profile(Section, frozen=True, kw_only=True):
    """A device class: runtime, precisions, processor, memory, power, limits and channel grid."""

    name: Slug
    title: Text
    description: Text
    runtime: Runtime
    precisions: Annotated[list[Precision], Meta(min_length=1)]
    """In order of preference."""
    cpu: Cpu
    memory: Memory
    power: Power
    battery: Battery | None = None
    thermal: Thermal
    grid: Grid
    sources: dict[str, Text]
    """Dotted key → where its value comes from; "estimate: how" where nobody published it. Every number has one."""

    @property
    def inference_mw(self) -> float:
        """What an inference adds to the idle board, in mW, estimated: the busy cores' share of the board's range."""
        return (self.power.active_mw - self.power.idle_mw) * self.runtime.threads / self.cpu.cores
