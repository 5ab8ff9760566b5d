"""A trained task as one module: it predicts like network and task, and `torch.export` accepts it."""

from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest
import torch
from PIL import Image

from palimpsest.inference import Predictor
from palimpsest.networks import build_network
from palimpsest.networks.unet_settings import UNetSettings
from palimpsest.tasks import KINDS, build_task

OPTIONS: dict[str, list[dict[str, Any]]] = {
    "segmentation": [{"classes": {"a": ["a"], "b": ["b"]}}, {"classes": {"a": ["a"]}, "loss": "l1"}],
    "classification": [{"classes": {"a": ["a"]}}],
    "colorization": [{"output": "rgb"}, {"output": "chroma"}],
    "depth": [{"range": [0.5, 10]}],
    "style": [{"picture": "painting.png", "perceptual": "random"}],
}
"""Kinds of task with the settings that change the prediction."""
CASES = [(kind, options) for kind in KINDS for options in OPTIONS.get(kind, [{}])]


def predictor(kind: str, options: dict[str, Any]) -> Predictor:
    settings = resolve_name(KINDS[kind].settings).model_validate({"kind": kind, "data": "mine", **options})
    task = build_task("mine", settings)
    torch.manual_seed(0)
    return Predictor(build_network(UNetSettings(width=2), task.head_channels).eval(), task)


@pytest.fixture(autouse=True)
def painting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (40, 40), (200, 100, 0)).save("painting.png")


@pytest.mark.parametrize(("kind", "options"), CASES)
def test_every_kind_of_task_can_be_exported(kind: str, options: dict[str, Any]) -> None:
    module = predictor(kind, options)
    pictures = torch.randint(0, 256, (2, 3, 32, 48), dtype=torch.uint8)
    with torch.no_grad():
        expected = module(pictures)
        exported = torch.export.export(module, (pictures,)).module()(pictures)
    assert expected.dtype == torch.float32 and expected.shape[0] == 2 and expected.shape[2:] == (32, 48)
    torch.testing.assert_close(exported, expected, rtol=0, atol=1e-6)


def test_a_batch_gives_the_predictions_of_its_pictures() -> None:
    module = predictor("colorization", {})
    pictures = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8)
    batch = {"picture": pictures}
    with torch.no_grad():
        answered = module.predict({**batch, "target": pictures})
        by_hand = module.task.prediction(module.network(module.task.inputs(batch)), batch)
    torch.testing.assert_close(answered, by_hand)
