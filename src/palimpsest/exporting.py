"""One task of a bundle as a stand-alone ONNX model, for mobile and server runtimes.

Input: ``picture``, uint8 (1, 3, H, W) RGB of any size. Output: ``result``, uint8 (1, H, W) labels for a task with
classes, float32 (1, C, H, W) otherwise: pictures in [0, 1], or values in the unit of the task. A task with classes
also has the output ``scores``, float32 (1, classes, H, W). Normalisation, the padding of `palimpsest.translation`
and the choice of the class are in the model. The result is the prediction at the size of the input; docs/onnx.md
describes how a program scales pictures and results as `palimpsest translate` does.
"""

import json
import logging
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from palimpsest import __version__
from palimpsest.bundle import Bundle
from palimpsest.errors import PalimpsestError
from palimpsest.inference import Predictor
from palimpsest.networks.base import Network
from palimpsest.storage.atomic import write_bytes
from palimpsest.tasks.base import Task
from palimpsest.translation import MAX_ENLARGED

INPUT, OUTPUT, SCORES = "picture", "result", "scores"
"""Names of the model's input and outputs."""
LARGEST_SIDE = 2**15
"""Largest side of a picture, in pixels."""


class Exported(nn.Module):
    """Pictures of any size → outputs of the same size; see the module's docstring for the types."""

    def __init__(self, network: Network, task: Task) -> None:
        super().__init__()
        self.predictor = Predictor(network, task)
        self.stride = network.stride

    def forward(self, picture: Tensor) -> tuple[Tensor, ...]:
        """Return the result, and for a task with classes the scores, for uint8 pictures (1, 3, H, W)."""
        height, width = picture.shape[2:]
        task = self.predictor.task
        rows, columns = (reflected(length, self.stride) for length in (height, width))
        batch = {"picture": picture.index_select(2, rows).index_select(3, columns).float()}
        output = self.predictor.network(task.inputs(batch))
        prediction = task.prediction(output, batch)[:, :, :height, :width]
        if task.classes is None:
            return (prediction,)
        return task.label_tensor(prediction), task.scores(prediction)


def reflected(length: int, stride: int) -> Tensor:
    """Return the indices, int64, of the pixels that pad an axis as `palimpsest.translation.padded_to_stride` does.

    ONNX's padding by reflection needs a picture that is larger than the padding; indices suit every length.
    """
    padded = torch.sym_max(2, (length + stride - 1) // stride) * stride
    period = torch.full((1,), 2 * length - 2)
    position = torch.arange(padded) % period.clamp(min=1)
    return torch.minimum(position, period - position)


def export_onnx(bundle: Bundle, name: str, path: Path) -> None:
    """Write a task of a bundle as an ONNX model with dynamic height and width.

    docs/onnx.md lists inputs, outputs and metadata of the model.

    Raises:
        SettingsError: the bundle has no such task.
        StorageError: the file cannot be written.
        PalimpsestError: the extra `export` of the package is not installed.
    """
    try:
        import onnx  # noqa: PLC0415 (of the extra `export`)
        import onnxscript  # noqa: F401, PLC0415
    except ModuleNotFoundError as error:
        raise PalimpsestError(f"{error.name} is not installed; run: pip install 'palimpsest[export]'") from error
    network, task = bundle.load(name).build(), bundle.task(name)
    module = Exported(network, task).eval()
    sides = [torch.export.Dim(side, min=1, max=LARGEST_SIDE) for side in ("height", "width")]
    example = torch.zeros(1, 3, 4 * network.stride, 5 * network.stride, dtype=torch.uint8)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with network.constant_padding(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's own deprecations
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            dynamic_shapes=({2: sides[0], 3: sides[1]},),
            input_names=[INPUT],
            output_names=[OUTPUT] if task.classes is None else [OUTPUT, SCORES],
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    onnx.helper.set_model_props(model, metadata(bundle, name))
    onnx.checker.check_model(model, full_check=True)
    write_bytes(path, model.SerializeToString())


def metadata(bundle: Bundle, name: str) -> dict[str, str]:
    """Return the metadata of the model of a task: its description, and the steps that the caller takes."""
    entry = bundle.entry(name)
    return {
        "task": name,
        "kind": entry.kind,
        "classes": json.dumps(entry.classes),
        "palette": json.dumps(entry.palette),
        "range": json.dumps(entry.settings.get("range")),
        "working_scale": entry.working_scale,
        "size": str(entry.size),
        "max_enlarged": str(MAX_ENLARGED),
        "refinement": json.dumps(bundle.task(name).refinement),
        "palimpsest": __version__,
        "bundle_sha256": bundle.file.sha256,
    }
