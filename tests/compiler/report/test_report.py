"""The report as JSON and as a page."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest
from tests.compiler import compiled

from secateur.ir.groups import keep_key
from secateur.mixed_precision import LayerCost, MixedPrecision
from secateur.pipeline import CompileResult
from secateur.precision_choice import Candidate
from secateur.quantized_tuning import QuantizedTuning
from secateur.report import render, summarise, write_report


@pytest.fixture(scope="module")
def result() -> object:
    return compiled.result()


def test_the_json_says_of_each_rung_what_programs_need(result: object, tmp_path: Path) -> None:
    write_report(tmp_path, result)
    report = json.loads((tmp_path / "report.json").read_text())
    rungs = [rung for profile in report["profiles"] for rung in profile["rungs"]]
    assert rungs
    wanted = {"id", "keep", "macs", "params", "file_bytes", "sha256", "precision", "metric", "metric_value", "latency_ms"}
    assert all(wanted | {"latency_source"} <= set(rung) for rung in rungs)
    assert all(len(rung["sha256"]) == 64 for rung in rungs)


def test_what_the_criterion_notes_is_told(result: CompileResult, tmp_path: Path) -> None:
    assert "<h2>Notes</h2>" not in render(summarise(replace(result, notes=[])))
    noted = replace(result, notes=["criterion lrp: Softmax (attention) has no rule: gradient × input stands in"])
    write_report(tmp_path, noted)
    assert json.loads((tmp_path / "report.json").read_text())["notes"] == noted.notes
    assert noted.notes[0] in render(summarise(noted))


def test_the_page_is_whole_and_needs_no_network(result: object) -> None:
    page = render(summarise(result))
    open_tags: list[str] = []

    class Checker(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            assert not any(name in ("src", "href") for name, _ in attrs), "the page must open without a network"
            if tag not in ("meta", "line", "polyline", "br"):
                open_tags.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert open_tags.pop() == tag

        def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            pass

    Checker().feed(page)
    assert open_tags == []
    for rung in summarise(result).profiles[0].rungs:
        assert rung.id in page


def test_what_the_search_tried_is_drawn_with_its_front_and_its_rungs(result: CompileResult) -> None:
    report = summarise(result)
    # The sensitivity of each group at four shares at most; none of them need be a rung.
    assert 0 < len(report.tried) <= 4 * len(report.groups)
    front = sorted((each.share, each.distance) for each in report.tried if each.on_front)
    assert front == sorted(front, key=lambda point: -point[1])
    page = render(report)
    begin = page.index("<svg", page.index("What the search tried"))
    dots = ElementTree.fromstring(page[begin : page.index("</svg>", begin)] + "</svg>")
    drawn = [dot.get("class") for dot in dots.iter("circle")]
    assert drawn.count("front") == len(front)
    assert drawn.count("tried") + drawn.count("front") + drawn.count("rung") >= len(report.tried)
    width, height = float(dots.get("width", 0)), float(dots.get("height", 0))
    assert all(0 < float(dot.get("cx", -1)) < width and 0 < float(dot.get("cy", -1)) < height for dot in dots.iter("circle"))
    bare = render(msgspec.structs.replace(report, tried=()))
    assert "What the search tried" not in bare


def test_the_gain_of_each_repair_step_is_told_for_every_rung(result: CompileResult) -> None:
    report = summarise(result)
    page = render(report)
    assert page.count("What each step of repair gave") == len(report.profiles)
    for profile in report.profiles:
        for rung in profile.rungs:
            assert rung.repair is not None
            steps = (rung.repair.cut, rung.repair.recalibrated, rung.repair.reconstructed, rung.repair.tuned)
            assert all(0 <= value <= 1 for value in steps)
            assert f"<td>{rung.repair.cut:.4f}</td>" in page
    bare = render(summarise(replace(result, gains={})))
    assert "What each step of repair gave" not in bare


def test_coverage_is_told_with_what_is_not_cut(result: CompileResult) -> None:
    report = summarise(result)
    assert report.coverage is not None
    assert 0 < report.coverage.cuttable_macs <= report.coverage.macs
    assert f"of the {report.coverage.macs:,} multiply-accumulates" in render(report)


def test_calibrators_are_told_and_the_least_is_marked(result: CompileResult) -> None:
    report = summarise(result)
    page = render(report)
    quantized = [rung for profile in report.profiles for rung in profile.rungs if rung.precision == "int8"]
    assert quantized
    for rung in quantized:
        assert {"min-max", "percentile", "mse", "entropy"} <= set(rung.calibrators)
        assert f"<b>{min(rung.calibrators.values()):.3g}</b>" in page
    assert all(not rung.calibrators for profile in report.profiles for rung in profile.rungs if rung.precision == "fp32")


def test_layers_that_stay_float_precisions_that_were_weighed_and_tuning_in_int8_are_told(result: CompileResult) -> None:
    layers = (LayerCost("stem", 0.75, 0.125, True), LayerCost("head", -0.25, 0.5, False))
    mixed = MixedPrecision("int8", 0.9, 0.6, 0.875, layers)
    candidates = [Candidate("fp32", 2.0, 0.9, 4000, True, True), Candidate("int8", 1.0, 0.6, 1000, False)]
    first, *others = result.profiles
    rung = first.rungs[0]
    key = keep_key(rung.entry.keep)
    tuning = QuantizedTuning(rung.entry.precision, 7, {key: 0.5}, {key: 0.75}, True)
    changed = replace(result, profiles=[replace(first, mixed=mixed, candidates=candidates), *others], quantized=tuning)
    report = summarise(changed)
    page = render(report)
    told = report.profiles[0].mixed
    assert told is not None
    assert [(layer.source, layer.floating) for layer in told.layers] == [("stem", True), ("head", False)]
    bars = ElementTree.fromstring(
        page[page.index("<table>", page.index("What layers cost")) :].split("</table>")[0] + "</table>"
    )
    widths = [span.get("style") for span in bars.iter("span")]
    assert widths == ["width: 260.0px", "width: 43.3px", "width: 0.0px", "width: 173.3px"], "one scale; less than 0 is 0"
    assert page.count("not accurate enough</td>") == 1
    assert page.count("chosen</td>") == 1
    assert report.qat is not None
    assert (report.qat.mean_before, report.qat.mean_after, report.qat.kept) == (0.5, 0.75, True)
    assert report.profiles[0].rungs[0].without_qat == 0.5
    assert "<td>0.5000</td>" in page
