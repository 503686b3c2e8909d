"""Charts: points, bars and lanes where the data say, escaped, named, and no colour without another difference."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks.chart_file import standalone
from m2a_core.reporting.charts import (
    Bar,
    Series,
    bars,
    ground_map,
    histogram,
    intervals,
    line_chart,
    timeline,
)
from m2a_core.reporting.plot import WIDTH, Axis, ticks

SVG = "{http://www.w3.org/2000/svg}"


def parse(chart: str) -> ElementTree.Element:
    return ElementTree.fromstring(str(chart))


def by_class(root: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [part for part in root.iter() if part.get("class") == name]


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 0.0037), (-3, 12345.6), (17, 18), (0, 250)])
def test_ticks_are_round_and_within_the_axis(low: float, high: float) -> None:
    found = ticks(low, high)
    assert 2 <= len(found) <= 12
    assert low - 1e-9 <= found[0] < found[-1] <= high + 1e-9
    steps = np.diff(found)
    np.testing.assert_allclose(steps, steps[0])
    mantissa = steps[0] / 10 ** np.floor(np.log10(steps[0]) + 1e-9)
    assert min(abs(mantissa - m) for m in (1, 2, 5)) < 1e-6


def test_lines_put_points_where_the_axes_say_and_differ_by_dashes() -> None:
    x, y = np.array([0.0, 0.5, np.nan, 1.0]), np.array([1.0, 0.5, 0.1, 0.0])
    series = [Series("one & two", x, y), Series("three", x, y)]
    root = parse(line_chart("a < b", series, Axis("x", 0, 1), Axis("y", 0, 1), ("chance", 0.25), [("here", 0.5, 0.5)]))
    first, second = root.iter(f"{SVG}polyline")
    points = [tuple(map(float, point.split(","))) for point in first.get("points").split()]
    assert len(points) == 3, "points that are not finite are left out"
    assert points[1] == pytest.approx(np.mean([points[0], points[2]], axis=0), abs=0.11)
    assert points[0][0] < points[2][0]
    assert points[0][1] < points[2][1], "SVG's y points down"
    assert first.get("stroke-dasharray") != second.get("stroke-dasharray")
    assert {"a < b", "one & two", "three", "x", "y", "chance", "here"} <= set(root.itertext())
    (mark,) = by_class(root, "mark")
    assert (float(mark.get("cx")), float(mark.get("cy"))) == pytest.approx(points[1], abs=0.11)
    assert root.get("aria-label") == "a < b"


def test_histogram_bars_are_numpys_counts() -> None:
    values = np.random.default_rng(3).normal(100, 15, 500)
    root = parse(histogram("h", values, Axis("ms", 0.0, 200.0), bins=20, marks=[("p50", 100.0)]))
    heights = np.array([float(bar.get("height")) for bar in by_class(root, "bar")])
    counts = np.histogram(values, 20, (0, 200))[0]
    assert len(heights) == 20
    np.testing.assert_allclose(heights / heights.max(), counts / counts.max(), atol=0.01)
    parse(histogram("empty", np.empty(0), Axis("ms")))


def test_a_few_frames_are_counted_in_whole_ones() -> None:
    root = parse(histogram("h", np.array([10.0, 20.0, 20.0]), Axis("ms", 0.0, 100.0)))
    beside_the_axis = [text.text for text in root.iter() if text.get("text-anchor") == "end"]
    assert beside_the_axis == ["0", "1", "2"]


def test_bars_are_as_long_as_their_values_and_say_them() -> None:
    root = parse(
        bars("b", ["first", "second"], [("AuPRC", [0.5, 0.25], [0.1, np.nan]), ("x", [np.nan, 1.0], [np.nan] * 2)])
    )
    long = [float(bar.get("width")) for bar in by_class(root, "f0") if bar.get("x") == "12"]
    assert long[0] == pytest.approx(2 * long[1], abs=0.2)
    assert len(by_class(root, "ink")) == 1
    assert {"first", "50.0 ± 10.0", "25.0", "100.0"} <= set(root.itertext())


def test_lanes_place_stretches_by_share_of_the_time_and_link_them() -> None:
    lanes = [("front", [Bar(1, 3, "event", "Event 1", "event_1")]), ("object", [Bar(0, 4, "seen", "seen", thin=True)])]
    root = parse(timeline("t", 4.0, lanes))
    event, seen = (
        next(part for part in by_class(root, kind) if part.tag == f"{SVG}rect") for kind in ("event", "seen")
    )
    assert (event.get("x"), event.get("width")) == ("25.00%", "50.00%")
    assert float(seen.get("height")) < float(event.get("height"))
    (link,) = root.iter(f"{SVG}a")
    assert (link.get("href"), link.get("aria-label"), root.get("role")) == ("#event_1", "Event 1", "group")


def test_a_time_line_without_length_still_shows_its_stretches() -> None:
    root = parse(timeline("t", 0.0, [("front", [Bar(0, 0, "event", "Event 1")])]))
    line = next(part for part in by_class(root, "event") if part.tag == f"{SVG}line")
    assert float(line.get("stroke-width")) >= 4


def test_the_map_keeps_distances_and_tells_cars_from_objects_by_shape() -> None:
    track = np.array([[0.0, 0.0], [30.0, 0.0], [30.0, 40.0]])
    root = parse(
        ground_map("m", track, [("event_1", "car", 30.0, 0.0)], [("event_2", "thing", 30.0, 40.0)], north=True)
    )
    points = [np.array(list(map(float, p.split(",")))) for p in next(root.iter(f"{SVG}polyline")).get("points").split()]
    assert np.linalg.norm(points[2] - points[1]) == pytest.approx(
        4 / 3 * np.linalg.norm(points[1] - points[0]), rel=0.01
    )
    (dot,) = by_class(root, "dot")
    (car,) = by_class(root, "car")
    assert (dot.tag, car.tag) == (f"{SVG}circle", f"{SVG}rect")
    assert (float(dot.get("cx")), float(dot.get("cy"))) == pytest.approx(tuple(points[2]), abs=0.11)


def test_intervals_are_drawn_about_zero_and_said_in_words() -> None:
    root = parse(intervals("i", [("AuPRC", 1.0, -1.0, 3.0)], "points"))
    (span,), (dot,), zero = by_class(root, "span"), by_class(root, "car"), by_class(root, "ink")[0]
    low, high = float(span.get("x1")), float(span.get("x2"))
    assert float(dot.get("cx")) == pytest.approx((low + high) / 2, abs=0.11)
    assert float(zero.get("x1")) == pytest.approx(low + (high - low) / 4, abs=0.11)
    assert "AuPRC: +1.00 (-1.00 to +3.00)" in set(root.itertext())


def test_a_file_of_charts_stacks_them_and_brings_its_style() -> None:
    one = line_chart("one", [Series("", np.arange(3.0), np.arange(3.0))], Axis("x"), Axis("y"))
    root = parse(standalone([one, one]))
    first, second = root.findall(f"{SVG}svg")
    assert float(second.get("y")) == float(first.get("height")) > 0
    assert root.get("viewBox") == f"0 0 {WIDTH} {2 * int(first.get('height'))}"
    assert "prefers-color-scheme:dark" in root.find(f"{SVG}style").text
