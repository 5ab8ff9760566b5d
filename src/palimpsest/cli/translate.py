"""`palimpsest translate`: pictures through one task."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    TaskName,
    make_folder,
    open_model,
    split_file,
)
from palimpsest.cli.outcome import DONE, FAILED, UsageError, message_of, report
from palimpsest.errors import PalimpsestError, no_space, printable
from palimpsest.machine import MAX_MEGAPIXELS

if TYPE_CHECKING:
    from palimpsest.data.pictures import Limits
    from palimpsest.translation import Translator


def translate(
    items: Items,
    task: TaskName,
    output: OutputFolder,
    preset: Preset = None,
    method: Method = "piggyback",
    seed: Seed = None,
    overlay: Annotated[
        bool, typer.Option("--overlay", help="Also write the classes in colour over the picture, for people.")
    ] = False,
    force: Force = False,
    max_megapixels: MaxMegapixels = MAX_MEGAPIXELS,
    debug: Debug = False,
) -> int:
    """Translate pictures of any size.

    Each result has the size of its picture, which may have any common format, and is named PICTURE-TASK.png, with a
    number if another result or picture has that name. The result of a segmentation is a palette PNG: its values are
    the labels of the classes.

    \b
    example:
      palimpsest translate tasks.safetensors holiday.jpg portraits/ --task colorize -o coloured
    """
    file, names = split_file(items, preset)
    model = open_model(file, preset, method, seed, task)
    if not names:
        raise UsageError("no picture given; name a bundle, then pictures, or a study with --preset")

    from palimpsest.data.pictures import Limits  # noqa: PLC0415 (PyTorch takes seconds)
    from palimpsest.picture_paths import output_paths, overlay_path, refuse_existing  # noqa: PLC0415

    translator = model.translator(task)
    if overlay and translator.predictor.task.classes is None:
        raise UsageError(f"--overlay: the task {task} has no classes; remove it")
    pictures, status = expanded(names)
    if not pictures:
        return status
    paths = output_paths(pictures, task, output)
    if not force:
        refuse_existing([*paths, *(map(overlay_path, paths) if overlay else ())])
    make_folder(output)
    limits = Limits(max_megapixels, "--max-megapixels", pipes=True)

    def write(picture: Path, path: Path) -> None:
        translate_one(translator, picture, path, limits, overlay=overlay)

    return for_each(pictures, paths, write) or status


def expanded(names: Sequence[str]) -> tuple[list[Path], int]:
    """Return the pictures that the arguments name, and the exit status: arguments without pictures are reported."""
    from palimpsest.picture_paths import expand  # noqa: PLC0415

    pictures, problems = expand(names)
    for problem in problems:
        report(message_of(problem))
    return pictures, FAILED if problems else DONE


def for_each(pictures: Sequence[Path], paths: Sequence[Path], write: Callable[[Path, Path], None]) -> int:
    """Call ``write`` for each picture with the path of its result; return the exit status.

    Pictures that fail are reported and skipped. A terminal shows a progress bar.

    Raises:
        StorageError: there is no space for the results.
    """
    from tqdm import tqdm  # noqa: PLC0415

    failed = 0
    bar = tqdm(
        zip(pictures, paths, strict=True),
        total=len(paths),
        unit=" pictures",
        disable=None if len(paths) > 1 else True,
        leave=False,
    )
    for picture, path in bar:
        try:
            write(picture, path)
        except PalimpsestError as error:
            if no_space(error):  # the next ones would not fit either
                raise
            failed += 1
            report(message_of(error))
        except Exception as error:  # as for lack of GPU memory; other pictures may still fit
            failed += 1
            report(f"{picture}: {message_of(error)}")
        else:
            line = printable(f"{picture} → {path}")
            print(line, flush=True) if bar.disable else bar.write(line)
    return FAILED if failed else DONE


def translate_one(translator: "Translator", picture: Path, path: Path, limits: "Limits", *, overlay: bool) -> None:
    """Write the translation of a picture, and with ``overlay`` the picture with the classes in colour over it.

    Raises:
        DataError: the picture cannot be read, or is too large for the memory.
        StorageError: a result cannot be written.
    """
    from palimpsest.data.encoding import write_picture  # noqa: PLC0415
    from palimpsest.data.pictures import read_picture  # noqa: PLC0415
    from palimpsest.overlay import overlaid  # noqa: PLC0415
    from palimpsest.picture_paths import overlay_path  # noqa: PLC0415

    pixels = read_picture(picture, limits)
    result = translator.image(pixels, picture)
    write_picture(path, result)
    if overlay:
        write_picture(overlay_path(path), overlaid(pixels, result, translator.classes))
