"""ONNX models give the results of `palimpsest translate`, at several sizes."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from palimpsest import cli
from palimpsest.bundle import Bundle
from palimpsest.bundling import bundle_study
from palimpsest.errors import PalimpsestError
from palimpsest.exporting import export_onnx, metadata, reflected
from palimpsest.networks.trunk import normalisation_layers
from palimpsest.tasks import KINDS, task_class
from palimpsest.tasks.base import Task, unit
from palimpsest.tasks.depth import DepthTask
from palimpsest.translation import Translator, padded_to_stride, resampled
from tests.conftest import ROOT, Study

SIZES = [(1, 1), (3, 40), (15, 16), (17, 16), (32, 48), (64, 64), (101, 77)]
"""Heights and widths; those up to 16 have less than two strides of the U-Net."""
PAIRED = {"datasets": {"pairs": {"format": "paired", "source": "directory", "root": "pairs"}}}
LEFT = {"data": "drawn", "classes": {"left": ["left"]}}
TASKS: dict[str, dict[str, Any]] = {
    "halves": {},
    "maps": {"tasks": {"maps": {"kind": "segmentation", "loss": "l2", **LEFT}}},
    "sides": {"tasks": {"sides": {"kind": "classification", **LEFT}}},
    "colour": {},
    "chroma": {"tasks": {"chroma": {"kind": "colorization", "data": "drawn", "output": "chroma"}}},
    "painted": {
        "tasks": {"painted": {"kind": "style", "data": "drawn", "perceptual": "random", "picture": "painting.png"}}
    },
    "negative": {**PAIRED, "tasks": {"negative": {"kind": "paired", "data": "pairs"}}},
    "metres": {**PAIRED, "tasks": {"metres": {"kind": "depth", "data": "pairs", "range": [0.5, 9.0]}}},
}
"""Settings that add a task to those of the study."""
METHODS = ("piggyback", "decoder", "scratch", "resblock6")
IN_EVERY_RUN = ("halves", "chroma", "painted")
CASES = [
    pytest.param(method, task, marks=[] if method == "piggyback" and task in IN_EVERY_RUN else [pytest.mark.proof])
    for method in METHODS
    for task in TASKS
]
ENCODERS = [
    "tf_mobilenetv3_small_minimal_100",
    *(
        pytest.param(name, marks=pytest.mark.proof)
        for name in ("resnet18", "tf_efficientnet_lite0", "tf_efficientnet_lite2")
    ),
]
"""Those of TensorFlow, ``tf_``, pad by a rule of their own; the last one is that of the preset `real`."""


@torch.no_grad()
def vary(network: nn.Module) -> None:
    """Change an untrained network, in place, so that its output depends on every layer and varies over a picture.

    Normalisations get random scales, because residual blocks return their input at a scale of 0. The channels of
    the output get mean 0 and deviation 1, because one class would otherwise have the largest score at every pixel.
    """
    for _, layer in normalisation_layers(network):
        if isinstance(layer.weight, torch.Tensor):
            nn.init.uniform_(layer.weight, 0.2, 1)
    weight, bias = (network.get_parameter(f"head.{name}") for name in ("weight", "bias"))
    nn.init.normal_(weight)
    pixels = torch.from_numpy(photograph(96, 64)).permute(2, 0, 1)[None]
    deviation, mean = torch.std_mean(network.eval()(unit(pixels)), dim=(0, 2, 3))
    bias.sub_(mean).div_(deviation)
    weight.div_(deviation[:, None, None, None])


def bundle_of(new_study: Callable[..., Study], method: str, task: str, **network: Any) -> Bundle:
    """Return the bundle of one task without training, on a network with these settings."""
    Image.new("RGB", (40, 40), "orange").save("painting.png")
    study = new_study(sequence=["shapes", task], network={"width": 8, **network}, **TASKS[task])
    study.store_untrained(method, task, vary)
    return bundle_study(study.settings, 0, method, [task])


def exported(bundle: Bundle, task: str) -> tuple[onnxruntime.InferenceSession, Translator]:
    """Return the session of an exported task, and its translator on the CPU."""
    path = Path(f"{task}.onnx")
    export_onnx(bundle, task, path)
    onnx.checker.check_model(path, full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session, bundle.translator(task, torch.device("cpu"))


def photograph(height: int, width: int) -> NDArray[np.uint8]:
    """Return a picture, uint8 (H, W, 3), of large blocks and noise."""
    random = np.random.default_rng(height * width)
    blocks = random.integers(0, 200, (height // 8 + 1, width // 8 + 1, 3)).repeat(8, 0).repeat(8, 1)
    noise = random.integers(0, 56, (height, width, 3))
    return (blocks[:height, :width] + noise).astype(np.uint8)


@torch.inference_mode()
def differences(
    session: onnxruntime.InferenceSession, translator: Translator, shape: tuple[int, int]
) -> tuple[float, float]:
    """Return the largest difference of values from the translator's prediction, and the share of equal labels.

    Differences of depths are divided by their range. The share is 1 for a task without classes.
    """
    pixels = photograph(*shape)
    prediction, task = translator.predict(pixels), translator.predictor.task
    expected = prediction if task.classes is None else task.scores(prediction)
    outputs = session.run(None, {"picture": pixels.transpose(2, 0, 1)[None]})
    values = outputs[-1]
    assert values.dtype == np.float32 and values.shape == expected.shape and values.shape[2:] == shape
    unit_range = task.high - task.low if isinstance(task, DepthTask) else 1
    largest = float(np.abs(values - expected.numpy()).max()) / unit_range
    if task.classes is None:
        return largest, 1.0
    assert outputs[0].dtype == np.uint8 and outputs[0].shape == (1, *shape)
    return largest, float((outputs[0] == task.labels(prediction)).mean())


def documented_program(path: str) -> Callable[[Image.Image], NDArray[Any]]:
    """Return the function `translate` of docs/onnx.md for a model, after it has translated photo.jpg."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/onnx.md").read_text("utf-8"), re.DOTALL)
    program: dict[str, Any] = {}
    functions, usage = code.replace("colorize.onnx", path).split("\n\n\ncoloured")
    exec(functions, program)
    if program["metadata"]["range"] == "null":  # values are no picture
        exec(f"coloured{usage}", program)
    translate: Callable[[Image.Image], NDArray[Any]] = program["translate"]
    return translate


@torch.inference_mode()
def check_program(program: Callable[[Image.Image], NDArray[Any]], translator: Translator) -> None:
    """Check that the documented program returns the results of the translator, at several sizes."""
    task = translator.predictor.task
    for shape in [(1, 1), (2, 90), (40, 57), (101, 77)]:
        pixels = photograph(*shape)
        result, image = program(Image.fromarray(pixels)), np.asarray(translator.image(pixels))
        if task.classes is not None:
            assert result.dtype == np.uint8 and (result == image).mean() >= 0.999
        elif result.dtype == np.uint8:
            assert result.shape == image.shape and np.abs(result.astype(int) - image).max() <= 1
        else:
            expected = resampled(translator.predict_whole(pixels, ""), *shape)[0, 0].numpy()
            assert np.abs(result - expected).max() <= 1e-3


def check_results(bundle: Bundle, task: str) -> None:
    """Check that the exported task and the documented program give the results of the translator."""
    session, translator = exported(bundle, task)
    for shape in SIZES:
        largest, equal = differences(session, translator, shape)
        assert largest <= 1e-3 and equal >= 0.999, shape
    Image.fromarray(photograph(50, 70)).save("photo.jpg")
    check_program(documented_program(f"{task}.onnx"), translator)
    assert Path("coloured.png").exists() or task == "metres"


@pytest.mark.slow
@pytest.mark.parametrize(("method", "task"), CASES)
def test_the_results_are_those_of_translate(new_study: Callable[..., Study], method: str, task: str) -> None:
    check_results(bundle_of(new_study, method, task), task)


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ENCODERS)
def test_the_results_over_an_encoder_of_timm_are_those_of_translate(
    new_study: Callable[..., Study], encoder: str
) -> None:
    check_results(bundle_of(new_study, "piggyback", "halves", encoder=encoder, encoder_weights="random"), "halves")


@pytest.mark.parametrize("stride", [8, 16, 32])
def test_indices_pad_as_the_translator(stride: int) -> None:
    for length in range(1, 3 * stride + 1):
        axis = np.arange(length, dtype=np.uint8)[:, None, None].repeat(3, 2)
        expected = padded_to_stride(axis, stride)[:, 0, 0]
        assert reflected(length, stride).tolist() == expected.tolist()


def test_refinements_are_named() -> None:
    """A kind that refines predictions with the photograph names this step for the callers of its model."""
    refining = {kind for kind in KINDS if task_class(kind).refine is not Task.refine}
    assert refining == {kind for kind in KINDS if task_class(kind).refinement} == {"colorization"}


@pytest.mark.slow
def test_the_metadata_names_the_steps_of_the_caller(new_study: Callable[..., Study]) -> None:
    steps = ("working_scale", "size", "max_enlarged", "refinement", "range")
    properties = metadata(bundle_of(new_study, "piggyback", "chroma"), "chroma")
    assert [properties[key] for key in steps] == ["trained", "32", "16", '"luminance"', "null"]
    properties = metadata(bundle_of(new_study, "piggyback", "painted"), "painted")
    assert [properties[key] for key in steps] == ["own", "32", "16", "null", "null"]
    properties = metadata(bundle_of(new_study, "piggyback", "metres"), "metres")
    assert [properties[key] for key in steps] == ["trained", "32", "16", "null", "[0.5, 9.0]"]
    page = (ROOT / "docs/onnx.md").read_text("utf-8")
    assert {*properties} <= {*re.findall(r"`(\w+)`", page)}


def test_another_suffix_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["export", "tasks.safetensors", "--task", "halves", "--onnx", "s.pt"]) == 2
    assert "--onnx: s.pt does not end with .onnx" in capsys.readouterr().err


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_missing_extra_is_named(new_study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = bundle_of(new_study, "piggyback", "halves")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(
        PalimpsestError, match=r"onnxscript is not installed; run: pip install 'palimpsest\[export\]'"
    ):
        export_onnx(bundle, "halves", Path("halves.onnx"))
