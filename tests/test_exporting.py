"""ONNX models give the results of PyTorch, at several sizes."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

from palimpsest import cli
from palimpsest.bundle import Bundle
from palimpsest.bundling import bundle_study
from palimpsest.errors import PalimpsestError
from palimpsest.exporting import Exported, export_onnx
from tests.conftest import Study

pytestmark = pytest.mark.slow

SIZES = [(32, 48), (64, 64), (101, 77)]
PAIRED = {"datasets": {"pairs": {"format": "paired", "source": "directory", "root": "pairs"}}}
TASKS: dict[str, dict[str, Any]] = {
    "halves": {},
    "colour": {},
    "chroma": {"tasks": {"chroma": {"kind": "colorization", "data": "drawn", "output": "chroma"}}},
    "painted": {
        "tasks": {"painted": {"kind": "style", "data": "drawn", "perceptual": "random", "picture": "painting.png"}}
    },
    "negative": {**PAIRED, "tasks": {"negative": {"kind": "paired", "data": "pairs"}}},
    "metres": {**PAIRED, "tasks": {"metres": {"kind": "depth", "data": "pairs", "range": [0.5, 9.0]}}},
}
"""Settings that add a task to those of the study."""
CASES = [
    pytest.param("piggyback", "halves"),
    pytest.param("piggyback", "chroma"),
    *(
        pytest.param("piggyback", task, marks=pytest.mark.proof)
        for task in TASKS
        if task not in ("halves", "chroma")
    ),
    *(
        pytest.param(method, task, marks=pytest.mark.proof)
        for method in ("decoder", "scratch", "resblock6")
        for task in TASKS
    ),
]


def bundle_of(new_study: Callable[..., Study], method: str, task: str) -> Bundle:
    """Return the bundle of one task without training."""
    Image.new("RGB", (40, 40), "orange").save("painting.png")
    study = new_study(sequence=["shapes", task], **TASKS[task])
    study.store_untrained(method, task)
    return bundle_study(study.settings, 0, method, [task])


@pytest.mark.parametrize(("method", "task"), CASES)
def test_the_results_are_those_of_pytorch(new_study: Callable[..., Study], method: str, task: str) -> None:
    bundle = bundle_of(new_study, method, task)
    export_onnx(bundle, task, Path("task.onnx"))
    onnx.checker.check_model("task.onnx", full_check=True)
    session = onnxruntime.InferenceSession("task.onnx", providers=["CPUExecutionProvider"])
    reference = Exported(bundle.load(task).build(), bundle.task(task))
    for height, width in SIZES:
        pictures = torch.randint(0, 256, (1, 3, height, width), dtype=torch.uint8)
        with torch.inference_mode():
            expected = reference(pictures).numpy()
        (result,) = session.run(["result"], {"picture": pictures.numpy()})
        assert result.shape == expected.shape and result.shape[-2:] == (height, width)
        if bundle.entry(task).classes:
            assert result.dtype == np.uint8 and (result == expected).mean() >= 0.999
        else:
            assert np.abs(result - expected).max() <= 1e-3


def test_the_command_writes_classes_and_palette(
    new_study: Callable[..., Study], capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = bundle_of(new_study, "piggyback", "halves")
    bundle.save(Path("tasks.safetensors"))
    command = ["export", "tasks.safetensors", "--task", "halves", "--onnx", "halves.onnx"]
    assert cli.main(command) == 0 and capsys.readouterr().out.startswith("halves.onnx: halves, ")
    properties = {entry.key: entry.value for entry in onnx.load("halves.onnx").metadata_props}
    assert json.loads(properties["classes"]) == ["background", "left"]
    assert json.loads(properties["palette"]) == [[0, 0, 0], [128, 0, 0]]
    assert properties["bundle_sha256"] == bundle.file.sha256 and properties["working_scale"] == "trained"
    assert cli.main(command) == 1
    assert "halves.onnx: exists; name another file" in capsys.readouterr().err


def test_a_missing_extra_is_named(new_study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = bundle_of(new_study, "piggyback", "halves")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(
        PalimpsestError, match=r"onnxscript is not installed; run: pip install 'palimpsest\[export\]'"
    ):
        export_onnx(bundle, "halves", Path("halves.onnx"))
