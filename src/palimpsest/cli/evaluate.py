"""`palimpsest evaluate`: metrics of a task on a folder of pictures."""

import json
from pathlib import Path
from typing import Annotated

import typer

from palimpsest.cli.options import Debug, Method, Preset, Seed, TaskName, check_choice, open_model
from palimpsest.cli.outcome import DONE, metric_lines
from palimpsest.data.formats import FORMATS
from palimpsest.errors import printable


def evaluate(
    task: TaskName,
    data: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder in the layout of COCO or VOC, or with pairs of pictures.")
    ],
    file: Annotated[str | None, typer.Argument(metavar="FILE", help="A bundle, unless --preset is given.")] = None,
    preset: Preset = None,
    method: Method = "piggyback",
    seed: Seed = None,
    split: Annotated[
        str | None, typer.Option(metavar="NAME", help="Split of the folder.", show_default="that of the validation")
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="NAME",
            help=f"Format of the folder: {', '.join(FORMATS)}.",
            show_default="recognised by the files",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    debug: Debug = False,
) -> int:
    """Measure a task on a folder of pictures.

    The pictures are prepared and the metrics computed as in the study, so that the same pictures give the same
    figures. Each figure has its bootstrap standard error over the pictures.

    \b
    example:
      palimpsest evaluate tasks.safetensors --task voc-seg --data /path/to/voc
    """
    if layout is not None:
        check_choice("--format", layout, FORMATS)
    model = open_model(file, preset, method, seed, task)

    from palimpsest.evaluation import evaluate as evaluate_task  # noqa: PLC0415 (PyTorch takes seconds)

    measured = evaluate_task(model, task, data, layout=layout, split=split)
    if as_json:
        content = {
            "task": task,
            "images": measured.images,
            "metrics": measured.metrics,
            "std_error": measured.errors,
            "checksum": measured.checksum,
        }
        print(json.dumps(content, indent=1))
        return DONE
    print(printable(f"{task}: {measured.images} pictures"))
    print(printable("\n".join(metric_lines(measured.metrics, measured.errors))))
    return DONE
