"""MLflow model of a bundle: `mlflow.pyfunc.load_model(uri).predict(pictures, params={"task": "colorize"})`.

The environment that loads the model needs this package, which reads the bundle.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
from mlflow.models import ModelSignature
from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec

from palimpsest import __version__
from palimpsest.bundle import Bundle, open_bundle
from palimpsest.data.pictures import Pixels

EXAMPLE_SIDE = 64
"""Side of the picture of the input example in pixels."""


class BundleModel:
    """Bundle with the interface of MLflow's Python models."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle

    def predict(self, pictures: Pixels, params: Mapping[str, Any] | None = None) -> Pixels:
        """Return the translations of pictures, both uint8 (N, H, W, 3) RGB; labels have their classes' colours.

        ``params["task"]`` is the name of a task; by default the last task of the bundle.

        Raises:
            SettingsError: the bundle has no such task.
            DataError: the array has another form.
        """
        task = (params or {}).get("task") or self.bundle.tasks[-1]
        return np.stack([np.asarray(self.bundle.translate(task, picture).convert("RGB")) for picture in pictures])


def _load_pyfunc(path: str) -> BundleModel:
    """Return the model in a file; MLflow calls this function by its name."""
    return BundleModel(open_bundle(path))


def save_model(bundle: Path, folder: Path) -> None:
    """Write an MLflow model of a bundle into a folder, which is replaced.

    The model contains the file of the bundle, the signature, and an input example, which MLflow predicts.

    Raises:
        StorageError: the file is no bundle.
    """
    task = open_bundle(bundle).tasks[-1]
    pictures = TensorSpec(np.dtype(np.uint8), (-1, -1, -1, 3))
    signature = ModelSignature(
        inputs=Schema([pictures]),
        outputs=Schema([pictures]),
        params=ParamSchema([ParamSpec("task", "string", task)]),
    )
    shutil.rmtree(folder, ignore_errors=True)
    mlflow.pyfunc.save_model(
        folder,
        loader_module=__name__,
        data_path=str(bundle),
        signature=signature,
        input_example=example(),
        pip_requirements=[f"palimpsest=={__version__}"],
    )


def example() -> Pixels:
    """Return the input example: a picture with a colour gradient, uint8 (1, H, W, 3)."""
    ramp = np.linspace(0, 255, EXAMPLE_SIDE, dtype=np.uint8)
    return np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], ramp[::-1, None]), axis=-1)[None]
