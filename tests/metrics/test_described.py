import pytest

from palimpsest.metrics.described import (
    describe,
    forgetting_metrics,
    format_value,
    headlines,
    in_short,
    kind_measured_by,
    metric_title,
    rounded,
)


def test_headlines_of_each_kind():
    every = ["ssim", "mse", "iou/sky", "miou", "total_loss", "content_loss", "ciede2000", "colourfulness"]
    assert headlines("segmentation", every) == ["miou"]
    assert headlines("colorization", every) == ["ssim", "mse", "ciede2000", "colourfulness"]
    assert headlines("style", every) == ["total_loss", "ssim"]
    assert headlines("paired", ["mse"]) == ["mse"]
    assert headlines("depth", ["rmse", "absrel"]) == ["absrel", "rmse"]
    assert headlines("own-kind", ["iou/sky", "psnr"]) == ["psnr"]
    assert forgetting_metrics("style", every) == ["total_loss"]
    assert forgetting_metrics("colorization", every) == ["ssim", "mse"]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("miou", 95.0, "95.00"),
        ("ssim", 0.91384, "0.9138"),
        ("mse", 1234.5, "1,234.50"),
        ("total_loss", 413833.2, "413,833"),
        ("total_loss", 2.16845, "2.168"),
        ("total_loss", 0.069, "0.06900"),
        ("total_loss", 0.0, "0.000"),
    ],
)
def test_a_rounded_value_is_printed_as_the_value(name, value, text):
    metric = describe(name)
    assert format_value(metric, value) == text
    assert format_value(metric, rounded(metric, value)) == text


def test_a_deviation_has_the_digits_of_its_mean():
    assert format_value(describe("total_loss"), 0.0213, mean=2.5) == "0.021"
    assert rounded(describe("total_loss"), 412.71, mean=413_833.0) == 413


def test_metrics_of_narrow_tables():
    every = ["total_loss", "ssim"]
    assert in_short(every[:2]) == ["total_loss"]  # the SSIM of styles has no meaning
    assert in_short(["content_loss", "ciede2000", "mse", "ssim"]) == ["ssim", "ciede2000"]
    assert in_short(["iou/sky", "miou"]) == ["miou"]
    assert in_short(["psnr"]) == []


def test_metrics_determine_the_kind_if_the_table_has_none():
    assert kind_measured_by(["ssim", "mse", "ciede2000", "colourfulness"]) == "colorization"
    assert kind_measured_by(["content_loss", "total_loss", "ssim"]) == "style"
    assert kind_measured_by(["mse", "ssim"]) == "paired"
    assert kind_measured_by(["iou/sky", "miou"]) == "segmentation"
    assert kind_measured_by(["rmse", "absrel"]) == "depth"
    assert kind_measured_by(["psnr"]) == ""


def test_a_metric_of_one_kind_has_its_description_with_and_without_the_kind():
    assert describe("ssim", "style").better == "" and describe("ssim", "paired").better == "higher"
    assert describe("ssim").better == "higher"
    assert describe("absrel").better == describe("absrel", "depth").better == "lower"


def test_a_metric_with_its_unit_and_direction():
    names = ["miou", "ssim", "ciede2000", "colourfulness", "psnr"]
    assert [metric_title(describe(name)) for name in names] == [
        "mIoU (%) ↑",
        "SSIM ↑",
        "CIEDE2000 (ΔE) ↓",
        "colourfulness → 1",
        "psnr",
    ]
