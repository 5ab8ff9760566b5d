"""The note on downloads at the start of a run."""

import os
from pathlib import Path

import pytest

from tests.pipeline.conftest import copied

pytestmark = pytest.mark.slow


def test_a_run_says_what_it_downloads_before_its_first_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "HF_HUB_OFFLINE", "1")
    target = "data/real/raw/weights/test_efficientnet.safetensors"
    output = (
        copied(tmp_path / "project")
        .snakemake(target, "--config", "preset=real", "network={encoder: test_efficientnet}", check=False)
        .splitlines()
    )
    (note,) = (index for index, line in enumerate(output) if line.startswith("note: the run downloads "))
    assert output[note] == (
        "note: the run downloads the weights of test_efficientnet from timm's hub; to avoid that, set "
        "network.encoder_weights to a file with timm's weights"
    )
    (failure,) = (index for index, line in enumerate(output) if "network.encoder: weights of" in line)
    assert note < failure
