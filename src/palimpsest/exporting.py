"""One task of a bundle as a stand-alone ONNX model, for mobile and server runtimes.

Input: ``picture``, uint8 (1, 3, H, W) RGB of any size. Output: ``result``, uint8 (1, H, W) labels for a task with
classes, float32 (1, C, H, W) otherwise: pictures in [0, 1], or values in the unit of the task. Normalisation,
padding to the network's stride and the choice of the class are in the model.
"""

import json
import logging
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from palimpsest import __version__
from palimpsest.bundle import Bundle
from palimpsest.errors import PalimpsestError
from palimpsest.inference import Predictor
from palimpsest.networks.base import Network
from palimpsest.storage.atomic import write_bytes
from palimpsest.tasks.base import Task

INPUT, OUTPUT = "picture", "result"
"""Names of the model's input and output."""
LARGEST_SIDE = 2**15
"""Largest side of a picture, in pixels."""


class Exported(nn.Module):
    """Pictures of any size → results of the same size; see the module's docstring for the types."""

    def __init__(self, network: Network, task: Task) -> None:
        super().__init__()
        self.predictor = Predictor(network, task)
        self.stride = network.stride

    def forward(self, picture: Tensor) -> Tensor:
        """Return the results for uint8 pictures (1, 3, H, W)."""
        height, width = picture.shape[2:]
        task = self.predictor.task
        padded = F.pad(picture.float(), (0, -width % self.stride, 0, -height % self.stride), mode="replicate")
        batch = {"picture": padded}
        output = self.predictor.network(task.inputs(batch))
        prediction = task.prediction(output, batch)[:, :, :height, :width]
        return prediction if task.classes is None else task.label_tensor(prediction)


def export_onnx(bundle: Bundle, name: str, path: Path) -> None:
    """Write a task of a bundle as an ONNX model with dynamic height and width.

    The model's metadata have the name, kind, classes, palette and working scale of the task, and the SHA-256 of the
    bundle.

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
    network = bundle.load(name).build()
    module = Exported(network, bundle.task(name)).eval()
    sides = [torch.export.Dim(side, min=2 * network.stride, max=LARGEST_SIDE) for side in ("height", "width")]
    example = torch.zeros(1, 3, 4 * network.stride, 5 * network.stride, dtype=torch.uint8)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's own deprecations
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            dynamic_shapes=({2: sides[0], 3: sides[1]},),
            input_names=[INPUT],
            output_names=[OUTPUT],
            verbose=False,
        )
    assert program is not None
    entry, model = bundle.entry(name), program.model_proto
    properties = {
        "task": name,
        "kind": entry.kind,
        "classes": json.dumps(entry.classes),
        "palette": json.dumps(entry.palette),
        "working_scale": entry.working_scale,
        "size": str(entry.size),
        "palimpsest": __version__,
        "bundle_sha256": bundle.file.sha256,
    }
    onnx.helper.set_model_props(model, properties)
    onnx.checker.check_model(model)
    write_bytes(path, model.SerializeToString())
