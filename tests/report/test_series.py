import math
import re

import matplotlib as mpl
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from palimpsest.metrics.metric import METRICS
from palimpsest.report.ablation import Curve
from palimpsest.report.chart import COLOURS, Chart
from palimpsest.report.series import Series, curve_chart, learning_charts, line_figure, zero_charts, zero_figure
from palimpsest.report.summary import Matrix, matrix_of_tables
from tests.report.conftest import read

METHODS = ["fine-tune", "piggyback"]
CURVE = Curve(
    "<task>",
    METRICS["ssim"],
    {"scratch": [(80, 0.7, 0.01, 1.0), (240, 0.8, 0.01, 1.0)], "<ewc>": [(80, 0.5, math.nan, 0.5)], "never": []},
)


@pytest.fixture
def matrix(metrics: pd.DataFrame, verification: pd.DataFrame, sequence: list[tuple[str, str]]) -> Matrix:
    return matrix_of_tables(metrics, sequence, verification)


def losses(*seeds: float) -> pd.DataFrame:
    """Return losses of two methods in two epochs, for each seed multiplied by a factor."""
    rows = [
        (seed, method, task, step, "loss", factor * value)
        for seed, factor in enumerate(seeds)
        for task in ("coco-seg", "colorize")
        for method, values in {"fine-tune": (0.4, 0.2), "piggyback": (0.8, 0.3)}.items()
        for step, value in zip((10, 20), values, strict=True)
    ]
    rows.append((0, "piggyback", "colorize", 20, "penalty", 7.0))
    return pd.DataFrame(rows, columns=["seed", "method", "task", "step", "name", "value"])


def titles(chart: Chart) -> list[str]:
    return re.findall("<title>(.*?)</title>", chart.svg)


def test_every_task_with_losses_has_a_learning_curve(matrix: Matrix) -> None:
    base, colorize = learning_charts(losses(1.0), matrix, METHODS)
    assert titles(base) == ["base, step 10: 0.8", "base, step 20: 0.3"]  # both methods share the network
    assert titles(colorize) == [
        *("fine-tune, step 10: 0.4", "fine-tune, step 20: 0.2"),
        *("piggyback, step 10: 0.8", "piggyback, step 20: 0.3"),
    ]
    assert "loss of colorize" in colorize.svg
    assert colorize.description.endswith("In the last epoch: fine-tune 0.2, piggyback 0.3.")


def test_several_seeds_have_their_mean_and_a_band(matrix: Matrix) -> None:
    (_, one), (_, several) = (learning_charts(losses(*seeds), matrix, METHODS) for seeds in ((1.0,), (1.0, 2.0)))
    assert titles(several)[0] == "fine-tune, step 10: 0.6"
    assert "FillBetween" in several.svg and "FillBetween" not in one.svg


def test_without_losses_there_is_no_learning_curve(matrix: Matrix) -> None:
    assert learning_charts(losses(), matrix, METHODS) == []


@pytest.mark.parametrize(("lowest", "scale"), [(0.1, "log"), (-0.1, "linear")])
def test_the_axis_of_losses_is_logarithmic_if_it_can_be(lowest: float, scale: str) -> None:
    series = Series("ewc", 7, [(10, 1.0), (20, lowest)], ["", ""])
    (axes,) = line_figure([series], "loss", logarithmic="y").axes
    assert axes.get_yscale() == scale
    line, *points = axes.lines
    assert line.get_xydata().tolist() == [[10, 1], [20, lowest]] and line.get_linestyle() == "--"
    assert {to_hex(one.get_color()) for one in (line, *points)} == {COLOURS[1]}  # the second round of colours
    assert [point.get_xydata().tolist() for point in points] == [[[10, 1]], [[20, lowest]]]


def test_quality_against_steps_is_drawn_per_method() -> None:
    chart = curve_chart(CURVE, METHODS)
    assert titles(chart) == [
        "scratch, 80 steps: 0.7000",
        "scratch, 240 steps: 0.8000",
        "&lt;ewc&gt;, 80 steps: 0.5000",
    ]
    assert ">&lt;ewc&gt;</text>" in chart.svg and ">240</text>" in chart.svg


def test_zeros_are_drawn_by_layer_and_task(matrix: Matrix) -> None:
    rows = [
        ("colorize", "a.weight", 100, 0.1),
        ("colorize", "b.weight", 300, 0.3),
        ("style-gogh", "a.weight", 100, 0.44),
    ]
    zeros = pd.DataFrame(rows, columns=["task", "layer", "weights", "zeros"]).assign(seed=0, method="piggyback")
    ((method, chart),) = zero_charts(zeros, matrix, METHODS)
    assert method == "piggyback"
    assert titles(chart) == [
        "a.weight, colorize: 10.00 %",
        "b.weight, colorize: 30.00 %",
        "a.weight, style-gogh: 44.00 %",
    ]
    assert (
        "colorize: 25.0 % in all, style-gogh: 44.0 % in all." in chart.description
    )  # (100 · 0.1 + 300 · 0.3) / 400


def test_zeros_of_the_first_convolution_and_the_fifth_stage_are_apart(matrix: Matrix) -> None:
    rows = [
        ("encoder.stages.0.0", 100, 0.1),
        ("encoder.stages.4.0", 300, 0.2),
        ("encoder.stages.4.3", 100, 0.6),
        ("decoder.up", 50, 0.0),
    ]
    zeros = pd.DataFrame(rows, columns=["layer", "weights", "zeros"])
    ((_, chart),) = zero_charts(zeros.assign(seed=0, method="piggyback", task="colorize"), matrix, METHODS)
    first, fifth, *layers = titles(chart)
    assert first == "first convolution, colorize: 10.00 %"
    assert fifth == "fifth stage, colorize: 30.00 %"  # (300 · 0.2 + 100 · 0.6) / 400
    assert [title.partition(",")[0] for title in layers] == [layer for layer, *_ in rows]


@pytest.mark.parametrize(
    "name", ["ewc", "piggyback-resblock", "style-munch: 39.5 % in all", "a-task-with-a-long-name: 39.5 % in all"]
)
@pytest.mark.parametrize("number", [1, 6, 17])
def test_the_legend_is_within_the_figure_and_outside_the_axes(name: str, number: int) -> None:
    series = [Series(name, index, [(10, 1.0), (20, 0.5)], ["", ""]) for index in range(number)]
    figure = line_figure(series, "loss", logarithmic="y")
    figure.draw_without_rendering()
    (legend,) = figure.legends
    box, (axes,) = legend.get_window_extent(), figure.axes
    assert box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y0 >= 0
    assert box.y1 <= axes.get_tightbbox().y0 and axes.bbox.height > 150


def test_the_first_layer_is_at_the_top() -> None:
    (axes,) = zero_figure(["first", "last"], [Series("task", 0, [(10, 0), (20, 1)], ["", ""])]).axes
    bottom, top = axes.get_ylim()
    assert (bottom, top) == (1.5, -0.5)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["first", "last"]


@pytest.mark.parametrize("kind", ["loss", "curve", "zeros"])
def test_a_figure_has_colours_and_font_of_the_page_and_unique_ids(kind: str, matrix: Matrix) -> None:
    zeros = pd.DataFrame(
        [("piggyback", "colorize", "a", 100, 0.1)], columns=["method", "task", "layer", "weights", "zeros"]
    )

    def make() -> Chart:
        charts = {
            "loss": lambda: learning_charts(losses(1.0), matrix, METHODS)[0],
            "curve": lambda: curve_chart(CURVE, METHODS),
            "zeros": lambda: zero_charts(zeros, matrix, METHODS)[0][1],
        }
        return charts[kind]()

    svg = make().svg
    read(svg)
    assert "var(--s" in svg and "var(--soft)" in svg and "font-family: var(--sans)" in svg
    assert "#" not in re.sub(f"#{kind}-", "", svg)  # all colours are the page's
    assert svg.count('id="') == svg.count(f'id="{kind}-')
    with mpl.rc_context({"font.size": 20, "axes.facecolor": "red", "svg.fonttype": "path"}):
        assert make().svg == svg
