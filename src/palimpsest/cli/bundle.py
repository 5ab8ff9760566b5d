"""`palimpsest bundle`: one file to carry away."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from palimpsest.cli.options import Debug, Method, Seed, check_choice, check_output, chosen_settings
from palimpsest.cli.outcome import DONE
from palimpsest.errors import printable


class Dtype(StrEnum):
    """Types of the weights in a file."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"


def bundle(
    preset: Annotated[
        str, typer.Option(metavar="NAME", is_eager=True, help="Preset of the stored tasks in this folder.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="File to write, *.safetensors.")],
    method: Method = "piggyback",
    seed: Seed = None,
    tasks: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Names of the tasks.", show_default="all tasks of the sequence"),
    ] = None,
    dtype: Annotated[
        Dtype, typer.Option(help="Type of the weights; float16 halves the base network.")
    ] = Dtype.FLOAT32,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if it exists.")] = False,
    debug: Debug = False,
) -> int:
    """Write one file with the network and all tasks.

    The network is in it once. The file runs anywhere, without this folder. The same stored tasks give the same
    bytes.

    \b
    example:
      palimpsest bundle --preset mini -o tasks.safetensors
    """
    settings = chosen_settings(preset, method)
    names = [name.strip() for name in tasks.split(",")] if tasks else []
    for name in names:
        check_choice("--tasks", name, settings.sequence)
    check_output("--output", output, ".safetensors", force=force)

    from palimpsest.bundling import bundle_study  # noqa: PLC0415 (PyTorch takes seconds)

    made = bundle_study(settings, settings.seeds[0] if seed is None else seed, method, names, dtype.value)
    sha256 = made.save(output)
    print(
        printable(f"{output}: {len(made.tasks)} tasks, {output.stat().st_size / 2**20:.2f} MiB, SHA-256 {sha256}")
    )
    return DONE
