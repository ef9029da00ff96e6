"""Charts as SVG."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from tensorvcs.display.chart import chart_svg

NAMESPACE = "{http://www.w3.org/2000/svg}"


def test_higher_numbers_are_higher_up_and_later_ones_further_right() -> None:
    root = ET.fromstring(chart_svg([(0.5, "red", "a"), (1.5, "green", "b < c"), (1.0, "red", "d")]))
    dots = root.findall(f"{NAMESPACE}circle")
    xs = [float(dot.attrib["cx"]) for dot in dots]
    ys = [float(dot.attrib["cy"]) for dot in dots]
    assert xs == sorted(xs)
    assert ys[1] < ys[2] < ys[0]
    assert [dot.attrib["fill"] for dot in dots] == ["red", "green", "red"]
    assert [dot.findtext(f"{NAMESPACE}title") for dot in dots] == ["a", "b < c", "d"]
    line = root.find(f"{NAMESPACE}polyline")
    assert line is not None
    assert line.attrib["points"].split()[0] == f"{xs[0]},{ys[0]}"


def test_equal_numbers_and_no_numbers_are_drawn_too() -> None:
    dots = ET.fromstring(chart_svg([(2.0, "red", ""), (2.0, "red", "")])).findall("*")
    assert len(dots) == 3
    assert ET.fromstring(chart_svg([])).findall(f"{NAMESPACE}circle") == []
    assert len(ET.fromstring(chart_svg([(1.0, "red", "")])).findall(f"{NAMESPACE}circle")) == 1
