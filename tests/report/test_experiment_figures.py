"""Figures of the experiments on masks."""

from itertools import pairwise
from typing import Any

import pandas as pd
import pytest
from matplotlib.container import ErrorbarContainer

from palimpsest.report.experiment_figures import bars, zeros_by_weights


def rows(values: dict[tuple[str, Any], list[float]], metric: str) -> pd.DataFrame:
    """Return measurements of a task by condition and x, one value per seed."""
    return pd.DataFrame(
        {"task": "colorize", "condition": condition, "x": x, "seed": seed, "metric": metric, "value": value}
        for (condition, x), of_seeds in values.items()
        for seed, value in enumerate(of_seeds)
    )


def test_ticks_of_a_logarithmic_axis_are_numbers_that_do_not_overlap() -> None:
    counts = (147_096, 231_064, 587_952, 918_540, 923_824)
    figure = zeros_by_weights(rows({("segmentation", count): [38.0, 39.0] for count in counts}, "zeros"))
    figure.draw_without_rendering()
    (axes,) = figure.axes
    labels = [label for label in axes.get_xticklabels(which="both") if label.get_text()]
    shown = [label for label in labels if axes.get_xlim()[0] <= label.get_position()[0] <= axes.get_xlim()[1]]
    assert [label.get_text() for label in shown] == ["200 k", "500 k", "1 M"]
    boxes = [label.get_window_extent() for label in shown]
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


def test_labels_of_bars_do_not_overlap() -> None:
    groups = ("weights", "sign × mean magnitude")
    tasks = ("voc-seg", "colorize", "style-gogh", "style-munch")
    quality = rows({("new mask", group): [90.0, 91.0] for group in groups}, "quality")
    figure = bars(pd.concat([quality.assign(task=task) for task in tasks]))
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for axes in figure.axes for label in axes.get_xticklabels()]
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


def test_a_deviation_is_drawn_around_the_measured_mean_below_the_limits_too() -> None:
    figure = bars(rows({("BatchNorm of the base", "rescaled"): [-130.0, 92.0, -352.0]}, "quality"))
    (drawn,) = [one for one in figure.axes[0].containers if isinstance(one, ErrorbarContainer)]
    ((low, high),) = ([y for _, y in line] for line in drawn.lines[2][0].get_segments())
    assert (low, high) == pytest.approx((-130 - 222, -130 + 222))
