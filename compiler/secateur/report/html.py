"""The report as one HTML page with its pictures inside: it opens from a file, without a network."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import jinja2

from secateur.report.summary import ProfileReport, Report, TriedReport, notes

WIDTH, HEIGHT, MARGIN = 460, 260, 44
Scale = Callable[[float], float]


@dataclass(frozen=True)
class Dot:
    """A rung in a plot, in pixels."""

    x: float
    y: float
    label: str


@dataclass(frozen=True)
class Plot:
    """A scatter plot with its axes."""

    title: str
    x_label: str
    dots: list[Dot]
    test_dots: list[Dot]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]

    @property
    def line(self) -> str:
        """The rungs joined, as an SVG point list."""
        return " ".join(f"{dot.x:.1f},{dot.y:.1f}" for dot in self.dots)


@dataclass(frozen=True)
class Scatter:
    """What the search tried: networks, those on the front joined, and those that became rungs; in pixels."""

    others: list[Dot]
    front: list[Dot]
    rungs: list[Dot]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]

    @property
    def line(self) -> str:
        """The front joined, as an SVG point list."""
        return " ".join(f"{dot.x:.1f},{dot.y:.1f}" for dot in self.front)


@dataclass(frozen=True)
class Bar:
    """A layer in the plot of what layers cost in int8; lengths in pixels."""

    source: str
    accuracy: float
    time: float
    label: str
    floating: bool


LONGEST_BAR = 260


def _bars(profile: ProfileReport) -> list[Bar]:
    """Share of accuracy and of time of each layer, drawn to one scale."""
    if profile.mixed is None:
        return []
    layers = profile.mixed.layers
    largest = max([1e-9, *(max(layer.accuracy_share, layer.time_share) for layer in layers)])

    def length(share: float) -> float:
        return round(LONGEST_BAR * max(0.0, share) / largest, 1)

    return [
        Bar(
            layer.source,
            length(layer.accuracy_share),
            length(layer.time_share),
            f"{layer.accuracy_share:.1%} of the distance, {layer.time_share:.1%} of the time",
            layer.floating,
        )
        for layer in layers
    ]


def _scatter(report: Report) -> Scatter | None:
    """Latency against distance, the latter by its logarithm: a small network is a thousand times as far as a large one."""
    tried = [each for each in report.tried if each.distance > 0]
    if not tried:
        return None
    x_low, x_high = _axis([each.share for each in tried] + [1.0], True)
    y_low, y_high = _axis([math.log10(each.distance) for each in tried], False)

    at_x, at_y = _scales((x_low, x_high), (y_low, y_high))

    def dot(each: TriedReport) -> Dot:
        label = f"{each.share:.0%} of the time, distance {each.distance:.3g}"
        return Dot(at_x(each.share), at_y(math.log10(each.distance)), label)

    ticks = [y_low + i * (y_high - y_low) / 4 for i in range(5)]
    return Scatter(
        others=[dot(each) for each in tried if not each.on_front and not each.rung],
        front=[dot(each) for each in sorted(tried, key=lambda each: each.share) if each.on_front],
        rungs=[dot(each) for each in tried if each.rung],
        x_ticks=[(at_x(i / 4), f"{i / 4:.0%}") for i in range(5)],
        y_ticks=[(at_y(tick), f"{10**tick:.2g}") for tick in ticks],
    )


def _axis(values: list[float], from_zero: bool) -> tuple[float, float]:
    low, high = (0.0 if from_zero else min(values)), max(values)
    room = (high - low or 1.0) * 0.08
    return (low if from_zero else low - room), high + room


def _scales(x: tuple[float, float], y: tuple[float, float]) -> tuple[Scale, Scale]:
    """Return what turns values between these bounds into pixels of a plot."""

    def at_x(value: float) -> float:
        return MARGIN + (value - x[0]) / (x[1] - x[0]) * (WIDTH - MARGIN - 12)

    def at_y(value: float) -> float:
        return HEIGHT - MARGIN + 12 - (value - y[0]) / (y[1] - y[0]) * (HEIGHT - MARGIN - 8)

    return at_x, at_y


def _plot(profile: ProfileReport, title: str, x_label: str, x: list[float]) -> Plot:
    y = [rung.metric_value for rung in profile.rungs]
    test = [rung.test_value for rung in profile.rungs]
    x_low, x_high = _axis(x, True)
    y_low, y_high = _axis(y + test, False)

    at_x, at_y = _scales((x_low, x_high), (y_low, y_high))
    ids = [rung.id for rung in profile.rungs]
    return Plot(
        title=title,
        x_label=x_label,
        dots=[Dot(at_x(a), at_y(b), name) for a, b, name in zip(x, y, ids)],
        test_dots=[Dot(at_x(a), at_y(b), name) for a, b, name in zip(x, test, ids)],
        x_ticks=[(at_x(x_low + i * (x_high - x_low) / 4), f"{x_low + i * (x_high - x_low) / 4:.3g}") for i in range(5)],
        y_ticks=[(at_y(y_low + i * (y_high - y_low) / 4), f"{y_low + i * (y_high - y_low) / 4:.3f}") for i in range(5)],
    )


def render(report: Report) -> str:
    """Return the page."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("secateur.report", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    plots = {
        profile.profile: [
            _plot(
                profile, "against latency", f"ms, {profile.rungs[0].latency_source}", [r.latency_ms for r in profile.rungs]
            ),
            _plot(profile, "against size", "KiB of the model file", [r.file_bytes / 1024 for r in profile.rungs]),
            _plot(profile, "against energy", "mJ for one inference, estimated", [r.energy_mj for r in profile.rungs]),
        ]
        for profile in report.profiles
    }
    return environment.get_template("report.html.j2").render(
        report=report,
        notes=notes(report),
        plots=plots,
        bars={profile.profile: _bars(profile) for profile in report.profiles},
        scatter=_scatter(report),
        width=WIDTH,
        height=HEIGHT,
        margin=MARGIN,
    )
