"""`palimpsest export`: one task as a stand-alone ONNX model."""

from pathlib import Path
from typing import Annotated

import typer

from palimpsest.cli.options import Debug, Method, Preset, Seed, TaskName, check_output, open_model
from palimpsest.cli.outcome import DONE
from palimpsest.errors import printable


def export(
    task: TaskName,
    onnx: Annotated[Path, typer.Option("--onnx", metavar="OUT", help="File to write, *.onnx.")],
    file: Annotated[str | None, typer.Argument(metavar="FILE", help="A bundle, unless --preset is given.")] = None,
    preset: Preset = None,
    method: Method = "piggyback",
    seed: Seed = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if it exists.")] = False,
    debug: Debug = False,
) -> int:
    """Write one task as an ONNX model.

    The model takes a picture of any size, uint8 (1, 3, H, W) RGB, and returns labels and scores of classes, or a
    picture in [0, 1], of the same size. This needs the extra `export` of the package.

    The result is that of the network at the size of its input. A task whose metadata has working_scale=trained
    needs objects as large as in training. To get the result of `palimpsest translate`, the caller scales the
    picture to a shorter side of `size` pixels, scales the scores or the picture of the model back, and with
    refinement="luminance" keeps the luminance of the picture. docs/onnx.md has a Python program that does this.

    \b
    example:
      palimpsest export tasks.safetensors --task voc-seg --onnx voc-seg.onnx
    """
    check_output("--onnx", onnx, ".onnx", force=force)
    model = open_model(file, preset, method, seed, task)

    from palimpsest.exporting import export_onnx  # noqa: PLC0415 (PyTorch takes seconds)

    export_onnx(model, task, onnx)
    print(printable(f"{onnx}: {task}, {onnx.stat().st_size / 2**20:.2f} MiB"))
    return DONE
