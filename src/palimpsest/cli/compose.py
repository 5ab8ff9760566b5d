"""`palimpsest compose`: two tasks on one picture."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from palimpsest.cli.options import (
    Debug,
    Force,
    Items,
    MaxMegapixels,
    Method,
    OutputFolder,
    Preset,
    Seed,
    check_choice,
    make_folder,
    open_model,
    split_file,
)
from palimpsest.cli.outcome import UsageError
from palimpsest.cli.translate import expanded, for_each
from palimpsest.machine import MAX_MEGAPIXELS

HALF = 0.5
"""Share of the first task in a blend without `--alpha`."""


class Way(StrEnum):
    """Ways to compose two tasks."""

    TWO_STAGE = "two-stage"
    SEQUENTIAL = "sequential"
    ALTERNATE = "alternate"
    BLEND = "blend"


def compose(
    items: Items,
    tasks: Annotated[str, typer.Option(metavar="A,B", help="Names of the first and the second task.")],
    how: Annotated[
        Way,
        typer.Option(
            help="two-stage: the picture of the first task goes through the second. sequential, alternate: one "
            "pass with the residual blocks of both, for resblock methods. blend: weights between both, for masks."
        ),
    ],
    output: OutputFolder,
    preset: Preset = None,
    method: Method = "piggyback",
    seed: Seed = None,
    alpha: Annotated[
        float | None,
        typer.Option(
            metavar="A", min=0, max=1, help="blend: share of the first task, 0 to 1.", show_default=f"{HALF}"
        ),
    ] = None,
    force: Force = False,
    max_megapixels: MaxMegapixels = MAX_MEGAPIXELS,
    debug: Debug = False,
) -> int:
    """Run two tasks on each picture.

    Each result has the size of its picture and is named PICTURE-A-B-HOW.png, a blend PICTURE-A-B-blend-ALPHA.png.

    \b
    example:
      palimpsest compose tasks.safetensors holiday.jpg --tasks colorize,style-gogh --how two-stage -o out
    """
    if alpha is not None and how != Way.BLEND:
        raise UsageError(f"--alpha: is a share of a blend; remove it for --how {how.value}")
    share = HALF if alpha is None else alpha
    file, names = split_file(items, preset)
    if not names:
        raise UsageError("no picture given; name a bundle, then pictures, or a study with --preset")
    pair = [name.strip() for name in tasks.split(",")]
    if len(pair) != 2:
        raise UsageError(f"--tasks: expected two names, found {tasks!r}; write them as colorize,style-gogh")
    model = open_model(file, preset, method, seed)
    for name in pair:
        check_choice("--tasks", name, model.tasks)

    from palimpsest.composing import composed_translator  # noqa: PLC0415 (PyTorch takes seconds)
    from palimpsest.data.encoding import write_picture  # noqa: PLC0415
    from palimpsest.data.pictures import Limits, read_picture  # noqa: PLC0415
    from palimpsest.picture_paths import output_paths, refuse_existing  # noqa: PLC0415

    pictures, status = expanded(names)
    if not pictures:
        return status
    way = f"{how.value}-{share:g}" if how == Way.BLEND else how.value
    paths = output_paths(pictures, "-".join([*pair, way]), output)
    if not force:
        refuse_existing(paths)
    limits = Limits(max_megapixels, "--max-megapixels", pipes=True)
    translate = composed_translator(model, pair[0], pair[1], how.value, share, pictures, limits)
    make_folder(output)

    def write(picture: Path, path: Path) -> None:
        write_picture(path, translate(read_picture(picture, limits), picture))

    return for_each(pictures, paths, write) or status
