"""`palimpsest evaluate`: metrics of a task on a folder of pictures."""

from typing import Annotated

import typer

from palimpsest.cli.data_options import (
    Annotations,
    Data,
    Inputs,
    Painting,
    Targets,
    Weights,
    check_kind,
    check_paths,
    figures,
    user_data,
)
from palimpsest.cli.options import Debug, Method, Preset, Seed, TaskName, check_choice, open_model
from palimpsest.cli.outcome import DONE, UsageError, json_text, metric_lines
from palimpsest.data.formats import FOLDER_FORMATS
from palimpsest.errors import printable


def evaluate(
    task: TaskName,
    file: Annotated[str | None, typer.Argument(metavar="FILE", help="A bundle, unless --preset is given.")] = None,
    data: Data = None,
    inputs: Inputs = None,
    targets: Targets = None,
    annotations: Annotations = None,
    painting: Painting = None,
    weights: Weights = None,
    preset: Preset = None,
    method: Method = "piggyback",
    seed: Seed = None,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Split of the folder.",
            show_default="that of the validation; all pictures of a folder without splits",
        ),
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="NAME",
            help=f"Format of the folder: {', '.join(FOLDER_FORMATS)}.",
            show_default="recognised by the files",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    debug: Debug = False,
) -> int:
    """Measure a task on a folder of pictures.

    The pictures are prepared and the metrics computed as in the study, so that the same pictures give the same
    figures. Each figure has its bootstrap standard error over the pictures. Of pairs without splits, the tenth that
    the training held out is measured. The loss of a style needs its painting, and --painting names it if it is not
    where it was in the training.

    \b
    example:
      palimpsest evaluate tasks.safetensors --task voc-seg --data /path/to/voc
    """
    if layout is not None:
        check_choice("--format", layout, FOLDER_FORMATS)
    check_paths(data, inputs, targets)
    if layout not in (None, "coco") and annotations is not None:
        raise UsageError(f"--annotations: is for the format coco, found {layout}; leave one of the options out")
    if layout not in (None, "paired") and inputs is not None:
        raise UsageError(f"--input: is for the format paired, found {layout}; leave one of the options out")
    model = open_model(file, preset, method, seed, task)
    given = {"--input": inputs, "--target": targets, "--annotations": annotations}
    check_kind(model.entry(task).kind, {**given, "--painting": painting, "--weights": weights})

    from palimpsest.evaluation import evaluate as evaluate_task  # noqa: PLC0415 (PyTorch takes seconds)
    from palimpsest.tasks.style_files import StyleFiles  # noqa: PLC0415

    named = user_data(data, inputs, targets, annotations, layout)
    result = evaluate_task(model, task, named, split=split, files=StyleFiles(painting, weights))
    measured = result.measured
    if as_json:
        content = {
            "task": task,
            "split": None if result.whole else result.split,
            "left_out": result.left_out,
            **figures(measured),
        }
        print(json_text(content))
        return DONE
    part = "all, since the data have no splits" if result.whole else f"split {result.split}"
    left_out = f"; {result.left_out} broken or unsuitable" if result.left_out else ""
    print(printable(f"{task}: {measured.images} pictures ({part}{left_out})"))
    print(printable("\n".join(metric_lines(measured.metrics, measured.errors))))
    return DONE
