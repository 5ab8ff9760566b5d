"""`palimpsest add-task`: a new task on an existing bundle."""

import shutil
import sys
import time
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from palimpsest.cli.options import Debug, check_choice, check_output
from palimpsest.cli.outcome import DONE, ResumableInterruptionError, UsageError, metric_lines
from palimpsest.errors import printable
from palimpsest.machine import cores
from palimpsest.methods import METHODS


class Kind(StrEnum):
    """Kinds of task that can be added."""

    PAIRED = "paired"
    SEGMENTATION = "segmentation"
    CLASSIFICATION = "classification"
    COLORIZATION = "colorization"
    STYLE = "style"
    DEPTH = "depth"


def add_task(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The bundle.")],
    name: Annotated[str, typer.Option(metavar="NAME", help="Name of the new task.")],
    kind: Annotated[Kind, typer.Option(help="Kind of translation.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="NEW", help="Bundle to write, *.safetensors.")],
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Pictures. segmentation, classification: a folder in the layout of COCO or VOC; paired, depth: "
            "folders of inputs and targets, or files with both halves side by side; colorization, style: any "
            "pictures.",
        ),
    ] = None,
    inputs: Annotated[
        Path | None, typer.Option("--input", metavar="DIR", help="paired, depth: folder of inputs, with --target.")
    ] = None,
    targets: Annotated[
        Path | None, typer.Option("--target", metavar="DIR", help="Folder of targets with the names of the inputs.")
    ] = None,
    annotations: Annotated[
        Path | None,
        typer.Option(
            metavar="JSON", help="segmentation, classification: COCO annotations of the pictures in --data."
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="segmentation, classification: categories, each a class.",
            show_default="all categories",
        ),
    ] = None,
    painting: Annotated[Path | None, typer.Option(metavar="PICTURE", help="style: the painting.")] = None,
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="style: weights of the perceptual network.")
    ] = None,
    method: Annotated[str, typer.Option(metavar="NAME", help="Method, one that the bundle has.")] = "piggyback",
    steps: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Training steps.", show_default="as an old task")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Pictures per step.", show_default="as an old task")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite NEW if it exists.")] = False,
    debug: Debug = False,
) -> int:
    """Learn a new task on a bundle.

    Needs only pictures of the new task: no study and no old data. A tenth of the pictures is held out for
    validation, unless the data have a split for it. The settings of the training are those of an old task. The
    network and all old tasks stay as they are, bit for bit. After Ctrl-C the same command goes on.

    \b
    example:
      palimpsest add-task tasks.safetensors --name edges --kind paired --data edges2photos -o more.safetensors
    """
    check_choice("--method", method, METHODS)
    check_output("--output", output, ".safetensors", force=force)
    folders = [path for path in (data, inputs, targets) if path is not None]
    if (inputs is None) != (targets is None) or (data is None) == (inputs is None):
        raise UsageError("name the pictures with --data, or with --input and --target")
    if (kind == Kind.STYLE) != (painting is not None):
        raise UsageError("--painting: is needed for the kind style, and for no other")

    from palimpsest import adding  # noqa: PLC0415 (PyTorch takes seconds)
    from palimpsest.bundle import open_bundle  # noqa: PLC0415
    from palimpsest.data.encoding import write_picture  # noqa: PLC0415
    from palimpsest.new_data import NewData, open_data, task_settings  # noqa: PLC0415

    bundle = open_bundle(file)
    work = output.with_suffix(".learning")
    pictures = NewData(kind.value, folders, annotations, classes.split(",") if classes else [], painting, weights)
    reader = open_data(pictures, work / "links")
    settings = task_settings(bundle, pictures, method, reader)
    new = adding.NewTask(name, settings, reader, method, steps, batch_size, threads=cores())
    try:
        added = adding.add_task(bundle, new, work, ProgressPrinter())
    except KeyboardInterrupt:
        raise ResumableInterruptionError("interrupted; the same command goes on from the last epoch") from None
    sha256 = added.bundle.save(output)
    same = adding.unchanged(bundle, output)
    sample = output.with_name(f"{output.stem}-{name}.png")
    write_picture(sample, added.sample)
    shutil.rmtree(work)
    entry = added.bundle.entry(name)
    print(printable(f"{name}: pictures held out for validation: {added.measured.images}"))
    print(printable("\n".join(metric_lines(added.measured.metrics, added.measured.errors))))
    components = ", ".join(f"{part} {size / 1024:.1f} KiB" for part, size in entry.components.items())
    print(printable(f"{sample}: some of them, with target and output"))
    print(
        printable(
            f"{output}: {len(added.bundle.tasks)} tasks, {output.stat().st_size / 2**20:.2f} MiB, {components}"
        )
    )
    print(f"the outputs of the {len(same)} old tasks are bit-identical; SHA-256 {sha256}")
    return DONE


class ProgressPrinter:
    """Function that prints loss and time of each epoch, unless a terminal shows the progress bar."""

    def __init__(self) -> None:
        self.start = time.monotonic()

    def __call__(self, history: Sequence[dict[str, float]]) -> None:
        """Print the last epoch."""
        if history and not sys.stderr.isatty():
            last = history[-1]
            seconds = time.monotonic() - self.start
            print(f"step {last['step']:.0f}: loss {last['loss']:.4f}, {seconds:.0f} s", flush=True)
