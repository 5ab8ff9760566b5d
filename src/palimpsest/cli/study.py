"""Subcommands in the folder of a study: `palimpsest classes` and `palimpsest adopt`."""

from pathlib import Path
from typing import Annotated

import typer

from palimpsest.cli.options import PARAMS, Config, Debug, MoreConfig, check_choice, overridden_settings
from palimpsest.cli.outcome import DONE
from palimpsest.errors import printable
from palimpsest.layout import making_command

TaskOfParams = Annotated[
    str, typer.Option("--task", metavar="NAME", help="Name of a segmentation task in params.yaml, as voc-seg.")
]


def classes(
    task: TaskOfParams,
    config: Config = None,
    more: MoreConfig = None,
    min_train: Annotated[
        int, typer.Option(metavar="N", min=1, help="Pictures of the split train that suffice to learn a class.")
    ] = 80,
    min_val: Annotated[
        int, typer.Option(metavar="N", min=1, help="Pictures of the split val that suffice to measure a class.")
    ] = 15,
    debug: Debug = False,
) -> int:
    """List the categories with enough pictures.

    Categories with enough pictures can be classes of a task. Count the pictures of the task's splits train and val
    that contain each category of its data set, with at least one labelled pixel. Print the numbers, and as YAML the
    setting `classes` with every category that has at least --min-train and --min-val pictures. Pictures of the
    split dev count as train.

    \b
    example:
      palimpsest classes --task voc-seg --config preset=real data_root=/path/to/folder
    """
    settings = overridden_settings([*(config or []), *(more or [])])
    check_choice("--task", task, settings.sequence)

    from palimpsest.class_counts import MinimumCounts, classes_yaml, count_classes, tables  # noqa: PLC0415 (reads pictures)

    counts, minimum = count_classes(settings, task), MinimumCounts(min_train, min_val)
    print(printable(f"{tables(counts, minimum)}\n\n{classes_yaml(counts, minimum)}".lstrip()))
    return DONE


def adopt(config: Config = None, more: MoreConfig = None, debug: Debug = False) -> int:
    """Record outputs of DVC as made by Snakemake.

    Record every output in this folder as made now, with the settings of params.yaml, so that `snakemake all` does
    not make it again. Use this after `dvc pull`, `dvc checkout` or a copy. Hard links and write-protected files are
    replaced by copies. Nothing is removed.

    \b
    example:
      palimpsest adopt --config preset=real data_root=/path/to/folder
    """
    from palimpsest.adoption import adopt as adopt_outputs  # noqa: PLC0415

    overrides = [*(config or []), *(more or [])]
    adopted = adopt_outputs(overridden_settings(overrides).layout, overrides)
    print(f"{adopted.outputs} outputs are recorded as made with the settings of {PARAMS}")
    if adopted.copied:
        print(f"{adopted.copied} links and write-protected files were replaced by copies")
    for path in adopted.missing:
        print(printable(f"{path} is missing; `{making_command(Path(path))}` makes it"))
    return DONE
