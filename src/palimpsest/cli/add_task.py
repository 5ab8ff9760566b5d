"""`palimpsest add-task`: a new task on an existing bundle."""

import math
import sys
import time
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TextIO

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
    positive_or_none,
    user_data,
)
from palimpsest.cli.options import Debug, Preset, Seed, check_choice, check_output, open_model
from palimpsest.cli.outcome import DONE, ResumableInterruptionError, UsageError, json_text, metric_lines
from palimpsest.errors import printable
from palimpsest.machine import cores
from palimpsest.methods import METHODS
from palimpsest.schema import NAME, NAME_ADVICE
from palimpsest.working_folder import CHECKPOINT, check_folder, working_folder


class Kind(StrEnum):
    """Kinds of task that can be added."""

    PAIRED = "paired"
    SEGMENTATION = "segmentation"
    CLASSIFICATION = "classification"
    COLORIZATION = "colorization"
    STYLE = "style"
    DEPTH = "depth"


def add_task(
    name: Annotated[str, typer.Option(metavar="NAME", help="Name of the new task.")],
    kind: Annotated[Kind, typer.Option(help="Kind of translation.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="NEW", help="Bundle to write, *.safetensors.")],
    file: Annotated[str | None, typer.Argument(metavar="FILE", help="A bundle, unless --preset is given.")] = None,
    data: Data = None,
    inputs: Inputs = None,
    targets: Targets = None,
    annotations: Annotations = None,
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="segmentation, classification: categories, each a class.",
            show_default="all that are annotated",
        ),
    ] = None,
    limits: Annotated[
        str | None,
        typer.Option(
            "--range",
            metavar="LOW,HIGH",
            help="depth: smallest and largest depth, as 0.5,10.",
            show_default="as an old task",
        ),
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(
            metavar="N",
            callback=positive_or_none,
            help="depth: units per stored number, as 0.001 for millimetres and a range in metres.",
            show_default="as an old task, or 1",
        ),
    ] = None,
    painting: Painting = None,
    weights: Weights = None,
    method: Annotated[str, typer.Option(metavar="NAME", help="Method, that of old tasks.")] = "piggyback",
    preset: Preset = None,
    seed: Seed = None,
    steps: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Training steps.", show_default="as an old task")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Pictures per step.", show_default="as an old task")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite NEW and its picture.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON, progress on stderr.")] = False,
    debug: Debug = False,
) -> int:
    """Learn a new task on a bundle, or on the stored tasks of a study.

    Needs only pictures of the new task: no study and no old data. A tenth of the pictures, at least one, is held
    out for validation, unless the data have a split for it. The settings of the training are those of an old task.
    The network and all old tasks stay as they are, bit for bit. After Ctrl-C the same command goes on.

    \b
    example:
      palimpsest add-task tasks.safetensors --name edges --kind paired --data edges2photos -o more.safetensors
    """
    check_choice("--method", method, METHODS)
    if not NAME.fullmatch(name):
        raise UsageError(f"--name: {name!r} is no name of a task; {NAME_ADVICE}")
    given = {"--input": inputs, "--target": targets, "--annotations": annotations, "--classes": classes}
    check_kind(kind, {**given, "--range": limits, "--scale": scale, "--painting": painting, "--weights": weights})
    check_paths(data, inputs, targets)
    if kind == Kind.STYLE and painting is None:
        raise UsageError("--painting: is needed for the kind style; name the picture of the painting")
    names, depths = names_in(classes), depths_in(limits)
    sample, work = output.with_name(f"{output.stem}-{name}.png"), output.with_suffix(".learning")
    check_output("--output", output, ".safetensors", force=force)
    check_output("--output", sample, "", force=force)
    check_folder(work)

    from palimpsest import adding  # noqa: PLC0415 (PyTorch takes seconds)
    from palimpsest.data.encoding import write_picture  # noqa: PLC0415
    from palimpsest.data.user_data import open_user_data  # noqa: PLC0415
    from palimpsest.new_data import NewData, task_settings  # noqa: PLC0415
    from palimpsest.tasks import KINDS  # noqa: PLC0415
    from palimpsest.tasks.style_files import StyleFiles  # noqa: PLC0415

    bundle = open_model(file, preset, method, seed)
    adding.check_new_name(bundle, name)
    reader = open_user_data(user_data(data, inputs, targets, annotations), KINDS[kind].target, exact=True)
    options = NewData(kind.value, names, StyleFiles(painting, weights), depths, scale)
    settings = task_settings(bundle, options, method, reader)
    new = adding.NewTask(name, settings, reader, method, steps, batch_size, threads=cores())
    try:
        with working_folder(work):
            added = adding.add_task(bundle, new, work, ProgressPrinter(sys.stderr if as_json else sys.stdout))
            sha256 = added.bundle.save(output)
            same = adding.unchanged(bundle, output)
            write_picture(sample, added.sample)
    except KeyboardInterrupt:
        if (work / CHECKPOINT).exists():
            raise ResumableInterruptionError("interrupted; the same command goes on from the last epoch") from None
        raise ResumableInterruptionError("interrupted in the first epoch; nothing is kept") from None
    entry = added.bundle.entry(name)
    if as_json:
        content = {
            "task": name,
            **figures(added.measured),
            "components": entry.components,
            "sample": str(sample),
            "file": str(output),
            "bytes": output.stat().st_size,
            "sha256": sha256,
            "bit_identical": same,
        }
        print(json_text(content))
        return DONE
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


def names_in(classes: str | None) -> list[str]:
    """Return the names in the option `--classes`, which are separated by commas; none if it is not given.

    Raises:
        UsageError: the option has no name.
    """
    names = [name.strip() for name in (classes or "").split(",") if name.strip()]
    if classes is not None and not names:
        raise UsageError(f"--classes: {classes!r} has no name; write them as cat,dog")
    return names


def depths_in(limits: str | None) -> tuple[float, float] | None:
    """Return the two depths in the option `--range`; None if it is not given.

    Raises:
        UsageError: the option is not two ascending numbers above 0.
    """
    if limits is None:
        return None
    try:
        low, high = map(float, limits.split(","))
    except ValueError:
        low, high = math.nan, math.nan
    if not 0 < low < high < math.inf:
        raise UsageError(f"--range: expected two ascending numbers above 0, found {limits!r}; write them as 0.5,10")
    return low, high


class ProgressPrinter:
    """Function that prints loss and time of each epoch to a stream, unless a terminal shows the progress bar."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.start = time.monotonic()

    def __call__(self, history: Sequence[dict[str, float]]) -> None:
        """Print the last epoch."""
        if history and not sys.stderr.isatty():
            last = history[-1]
            seconds = time.monotonic() - self.start
            print(
                f"step {last['step']:.0f}: loss {last['loss']:.4f}, {seconds:.0f} s", file=self.stream, flush=True
            )
