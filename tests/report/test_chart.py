import math
import random
from collections.abc import Callable
from itertools import combinations

import matplotlib as mpl
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from palimpsest.report.chart import (
    Chart,
    Point,
    Position,
    format_bytes,
    quality_chart,
    quality_figure,
)
from tests.report.conftest import read

FRONT = ["batchnorm", "lwf", "packnet", "piggyback", "piggyback-ternary", "scratch"]
MEASURED = {
    "scratch": (3.7e6, 1.0),
    "fine-tune": (3.04e4, 0.296),
    "ewc": (3.37e4, 0.758),
    "lwf": (3.04e4, 0.831),
    "packnet": (9.1e4, 0.868),
    "decoder": (1.37e6, 0.865),
    "batchnorm": (2.7e4, 0.771),
    "adapter": (4.0e5, 0.941),
    "modulation": (9.5e5, 0.979),
    "bitdelta": (1.53e5, 0.924),
    "piggyback": (1.454e5, 0.9585),
    "piggyback-affine": (1.484e5, 0.9564),
    "piggyback-ternary": (2.64e5, 0.99),
    "piggyback-gan": (1.41e6, 0.921),
    "joint": (3.03e4, 0.961),
    "resblock6": (2.23e6, 0.866),
    "resblock9": (3.34e6, 0.88),
    "piggyback-resblock": (8.2e4, 0.878),
}


def points_of(places: dict[str, Position], strong: list[str], deviation: float = 0.0) -> dict[str, Point]:
    return {name: Point(x, 100 * y, name, name in strong, deviation) for name, (x, y) in places.items()}


def crowd(seed: int, octaves: float) -> dict[str, Position]:
    """Return positions within some octaves of bytes and per cent of quality, and one far below."""
    choice = random.Random(seed)
    places = {m: (2 ** choice.uniform(14, 14 + octaves), choice.uniform(1 - octaves / 100, 1)) for m in MEASURED}
    return {**places, "fine-tune": (9.0e3, 0.05)}


def axes_of(figure: Figure) -> Axes:
    figure.draw_without_rendering()
    return figure.axes[0]


def ticks(axes: Axes) -> tuple[list[str], list[str]]:
    """Return the labels of the ticks that lie within the axes."""
    shown = []
    for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        labelled = zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=True)
        shown.append([label.get_text() for at, label in labelled if low <= at <= high])
    return shown[0], shown[1]


@pytest.mark.parametrize("places", [MEASURED, crowd(0, 9), crowd(1, 9), crowd(0, 3), crowd(0, 0.1)])
def test_every_point_has_its_name_and_no_two_names_overlap(places: dict[str, Position]) -> None:
    axes = axes_of(quality_figure(points_of(places, FRONT, deviation=1.0)))
    assert [text.get_text() for text in axes.texts] == [*places]
    boxes = [text.get_window_extent() for text in axes.texts]
    assert not any(first.overlaps(second) for first, second in combinations(boxes, 2))
    assert all(axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1 for box in boxes)


def test_the_names_of_measured_methods_cover_no_point() -> None:
    axes = axes_of(quality_figure(points_of(MEASURED, FRONT)))
    centres = axes.transData.transform([(x, 100 * y) for x, y in MEASURED.values()])
    for text in axes.texts:
        assert not any(text.get_window_extent().padded(2).contains(*centre) for centre in centres)


def test_points_at_one_position_have_separate_names() -> None:
    axes = axes_of(quality_figure(points_of(dict.fromkeys(["one", "two", "three"], (1024.0, 0.5)), [])))
    boxes = [text.get_window_extent() for text in axes.texts]
    assert not any(first.overlaps(second) for first, second in combinations(boxes, 2))


def test_quality_is_plotted_over_bytes_on_a_logarithmic_axis() -> None:
    points = points_of(
        {"large": (2**20, 0.97), "small": (1024, 0.91), "worse": (2**15, 0.9)}, ["large", "small"], 2
    )
    axes = axes_of(quality_figure(points))
    across, up = ticks(axes)
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "linear")
    assert across == ["1 KiB", "4 KiB", "16 KiB", "64 KiB", "256 KiB", "1 MiB"]
    assert "90" in up and "100" in up
    marks = {line.get_gid(): line for line in axes.lines if line.get_gid()}
    assert [mark.get_xydata()[0].tolist() for mark in marks.values()] == [[2**20, 97], [1024, 91], [2**15, 90]]
    fills = [mark.get_markerfacecolor() for mark in marks.values()]
    assert fills[0] == fills[1] != fills[2]


def test_the_front_is_a_staircase_and_the_reference_a_horizontal_line() -> None:
    places = {"large": (4096, 0.97), "small": (1024, 0.91), "worse": (8192, 0.9)}
    axes = axes_of(quality_figure(points_of(places, ["large", "small"])))
    lines = [line.get_xydata().tolist() for line in axes.lines]
    assert [[1024, 91], [4096, 91], [4096, 97], [8192, 97]] in lines
    assert any({y for _, y in line} == {100} for line in lines)


def test_deviations_are_bars() -> None:
    axes = axes_of(quality_figure(points_of({"one": (1024, 0.5)}, [], deviation=10)))
    assert [[1024, 40], [1024, 60]] in [line.get_xydata().tolist() for line in axes.lines]


STRANGE = {"<ewc$2$>": (2048.0, 0.9), "lwf": (4096.0, 0.8)}
CHARTS: dict[str, Callable[[], Chart]] = {
    "quality": lambda: quality_chart(MEASURED, dict.fromkeys(MEASURED, math.nan), FRONT),
    "strange": lambda: quality_chart(STRANGE, dict.fromkeys(STRANGE, math.nan), ["lwf"]),
}


@pytest.mark.parametrize("name", CHARTS)
def test_the_bytes_of_a_chart_do_not_depend_on_the_users_settings(name: str) -> None:
    first = CHARTS[name]().svg
    with mpl.rc_context({"font.size": 20, "axes.facecolor": "red", "svg.fonttype": "path"}):
        assert CHARTS[name]().svg == first


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_has_colours_and_font_of_the_page_and_unique_ids(name: str) -> None:
    svg = CHARTS[name]().svg
    read(svg)
    assert "var(--ink)" in svg and "var(--soft)" in svg and "font-family: var(--sans)" in svg
    assert "#" not in svg.replace("#quality-", "")  # all colours are the page's
    assert svg.count('id="') == svg.count('id="quality-')
    assert "<style" not in svg and "<metadata" not in svg


def test_text_is_text_and_points_have_titles() -> None:
    quality, strange = (chart() for chart in CHARTS.values())
    assert ">piggyback-ternary</text>" in quality.svg
    assert ">&lt;ewc$2$&gt;</text>" in strange.svg
    assert "<title>scratch: 100.0 %, 3.5 MiB</title>" in quality.svg
    assert "<title>&lt;ewc$2$&gt;: 90.0 %, 2 KiB</title>" in strange.svg
    assert quality.description.endswith(f"On the Pareto front: {', '.join(FRONT)}.")


def test_bytes_have_a_suitable_unit() -> None:
    counts = (12.0, 1536, 200 * 1024, 2.5 * 2**20)
    assert [format_bytes(count) for count in counts] == ["12 B", "1.5 KiB", "200 KiB", "2.5 MiB"]
