from pathlib import Path

import pytest

from palimpsest.layout import making_command


@pytest.mark.parametrize(
    ("path", "target", "expected"),
    [
        ("results/real/metrics.csv", "", "results/real/metrics.csv --config preset=real"),
        ("results/real.sweep/low/metrics.csv", "sweep", "sweep --config preset=real"),
        ("elsewhere/metrics.csv", "", "elsewhere/metrics.csv"),
    ],
)
def test_the_command_that_makes_an_output_has_the_preset_of_its_path(path: str, target: str, expected: str) -> None:
    assert making_command(Path(path), target) == f"snakemake --cores all {expected}"
