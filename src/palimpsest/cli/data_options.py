"""Options that name own data, for `add-task` and `evaluate`, and the kinds of task that they are for."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from palimpsest.cli.options import positive
from palimpsest.cli.outcome import UsageError

if TYPE_CHECKING:
    from palimpsest.analysis.measurement import Measurement
    from palimpsest.data.user_data import UserData

LABELLED, PAIRED, STYLE = ("segmentation", "classification"), ("paired", "depth"), ("style",)
"""Kinds of task with labels, with pairs, and with a painting."""
KINDS_OF: dict[str, tuple[str, ...]] = {
    "--annotations": LABELLED,
    "--classes": LABELLED,
    "--input": PAIRED,
    "--range": ("depth",),
    "--scale": ("depth",),
    "--target": PAIRED,
    "--painting": STYLE,
    "--weights": STYLE,
}
"""Kinds of task by option, of the options that are not for all kinds."""

Data = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Pictures. segmentation, classification: a folder in the layout of COCO or VOC; paired, depth: "
        "folders of inputs and targets, or files with both halves side by side; colorization, style: any "
        "pictures.",
    ),
]
Inputs = Annotated[
    Path | None, typer.Option("--input", metavar="DIR", help="paired, depth: folder of inputs, with --target.")
]
Targets = Annotated[
    Path | None,
    typer.Option("--target", metavar="DIR", help="paired, depth: folder of targets with the names of the inputs."),
]
Annotations = Annotated[
    Path | None,
    typer.Option(metavar="JSON", help="segmentation, classification: COCO annotations of the pictures in --data."),
]
Painting = Annotated[Path | None, typer.Option(metavar="PICTURE", help="style: the painting.")]
Weights = Annotated[Path | None, typer.Option(metavar="FILE", help="style: weights of the perceptual network.")]


def positive_or_none(value: float | None) -> float | None:
    """Return the value of an option, or None if it is not given.

    Raises:
        BadParameter: the number is not above 0.
    """
    return None if value is None else positive(value)


def check_kind(kind: str, given: Mapping[str, object]) -> None:
    """Check that options are for a kind of task; ``given`` are their values, None for an option that is not given.

    Raises:
        UsageError: an option is for other kinds.
    """
    for option, value in given.items():
        if value is not None and kind not in KINDS_OF[option]:
            kinds = " and ".join(KINDS_OF[option])
            raise UsageError(f"{option}: is for tasks of the kind {kinds}, found {kind}; leave it out")


def check_paths(data: Path | None, inputs: Path | None, targets: Path | None) -> None:
    """Check that either one folder is named, or one of inputs and one of targets.

    Raises:
        UsageError: none is named, both ways are mixed, or one of two folders is missing.
    """
    if (inputs is None) != (targets is None) or (data is None) == (inputs is None):
        raise UsageError("name the pictures with --data, or with --input and --target")


def user_data(
    data: Path | None,
    inputs: Path | None,
    targets: Path | None,
    annotations: Path | None,
    layout: str | None = None,
) -> "UserData":
    """Return the paths of the data that the options name."""
    from palimpsest.data.user_data import UserData  # noqa: PLC0415 (imports NumPy and Pillow)

    return UserData([path for path in (data, inputs, targets) if path is not None], annotations, layout)


def figures(measured: "Measurement") -> dict[str, Any]:
    """Return the figures of a measurement for JSON."""
    return {
        "images": measured.images,
        "metrics": dict(measured.metrics),
        "std_error": dict(measured.errors),
        "checksum": measured.checksum,
    }
