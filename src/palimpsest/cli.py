"""Command `palimpsest`, with subcommands that use trained tasks.

    palimpsest translate --task colorize holiday.jpg -o coloured

The exit status is 0 on success, 1 after a failure, 2 after a usage error; each problem is one line on stderr. A
subcommand is one entry of `COMMANDS`: its arguments and the function that runs it. Only that function imports
PyTorch, so that help and usage errors appear at once.
"""

import argparse
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from palimpsest import __version__
from palimpsest.cli_options import (
    PARAMS,
    UsageError,
    check_choice,
    choose_model,
    make_folder,
    overridden_settings,
    override_settings,
    positive,
    positive_integer,
    settings_of,
)
from palimpsest.errors import PalimpsestError, no_space, printable, user_message
from palimpsest.layout import making_command
from palimpsest.machine import MAX_MEGAPIXELS
from palimpsest.methods import METHODS
from palimpsest.output import survive_any_output

DONE, FAILED, WRONG_USE, INTERRUPTED = 0, 1, 2, 130


@dataclass(frozen=True)
class Command:
    """One subcommand of `palimpsest`, an entry of `COMMANDS`."""

    name: str
    summary: str
    """Line in the list of subcommands."""
    description: str
    """Text of the subcommand's help."""
    example: str
    """Command line that the help shows."""
    arguments: Callable[[argparse.ArgumentParser], None]
    """Function that adds the arguments to a parser."""
    run: Callable[[argparse.Namespace], int]
    """Function that runs the subcommand and returns the exit status; a `PalimpsestError` becomes one line."""


class Parser(argparse.ArgumentParser):
    """Parser that raises a `UsageError` of one line and does not print the whole usage."""

    def error(self, message: str) -> NoReturn:
        """Raise a `UsageError` of the message and a reference to the help."""
        raise UsageError(f"{message}; see: {self.prog} --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    ``argv`` lists the arguments without the program's name; None means those of this process.
    """
    survive_any_output()
    arguments = sys.argv[1:] if argv is None else list(argv)
    options = argparse.Namespace(debug=False)
    try:
        parser().parse_args(arguments, options)
        command = next(command for command in COMMANDS if command.name == options.command)
        return command.run(options)
    except KeyboardInterrupt:
        report("interrupted", options.debug)
        return INTERRUPTED
    except Exception as error:
        report(message_of(error), options.debug)
        return WRONG_USE if isinstance(error, UsageError) else FAILED


def message_of(error: Exception) -> str:
    """Return the message of an error for the user; for an unexpected error, with the error's type."""
    return user_message(error) or f"unexpected {type(error).__name__}: {error}; --debug shows where"


def report(problem: str, debug: bool) -> None:
    """Print a problem as one line on stderr; with ``debug``, print the traceback of the current error before it."""
    if debug:
        traceback.print_exc()
    print("error:", " ".join(problem.split()), file=sys.stderr)


def parser() -> Parser:
    """Return the parser of the whole command line."""
    common = Parser(add_help=False)
    # No default, because a subcommand's default would reset the flag given before its name.
    common.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of errors"
    )
    whole = Parser(
        prog="palimpsest",
        description="One network, many image translators.",
        epilog="examples:\n" + "\n".join(f"  {command.example}" for command in COMMANDS),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common],
        allow_abbrev=False,
    )
    whole.add_argument("--version", action="version", version=f"palimpsest {__version__}")
    subcommands = whole.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.arguments(
            subcommands.add_parser(
                command.name,
                help=command.summary,
                description=command.description,
                epilog=f"example:\n  {command.example}",
                formatter_class=argparse.RawDescriptionHelpFormatter,
                parents=[common],
                allow_abbrev=False,
            )
        )
    return whole


def translate_arguments(arguments: argparse.ArgumentParser) -> None:
    """Add the arguments of `translate`."""
    choose_model(arguments)
    arguments.add_argument(
        "pictures", metavar="PICTURE", nargs="+", type=Path, help="picture of any size and common format"
    )
    arguments.add_argument(
        "-o", "--output", metavar="DIR", required=True, type=Path, help="folder for the results, created if missing"
    )
    arguments.add_argument(
        "--max-megapixels",
        metavar="N",
        type=positive,
        default=MAX_MEGAPIXELS,
        help="refuse larger pictures; translation takes about 25 bytes of memory per pixel (default: %(default)g)",
    )


def run_translate(options: argparse.Namespace) -> int:
    """Write the translation of each picture and return the exit status; report and skip pictures that fail."""
    check_choice("--method", options.method, METHODS)
    settings = settings_of(options.preset)
    check_choice("--task", options.task, settings.sequence)
    seed = settings.seeds[0] if options.seed is None else options.seed

    from palimpsest import translation  # noqa: PLC0415 (PyTorch takes seconds)
    from palimpsest.data.encoding import write_picture  # noqa: PLC0415
    from palimpsest.data.pictures import Limits, read_picture  # noqa: PLC0415

    translator = translation.load_translator(settings, seed, options.method, options.task)
    make_folder(options.output)
    limits = Limits(options.max_megapixels, "--max-megapixels", pipes=True)
    failed = 0
    paths = translation.output_paths(options.pictures, options.task, options.output)
    for photograph, path in zip(options.pictures, paths, strict=True):
        try:
            write_picture(path, translator(read_picture(photograph, limits), photograph))
        except PalimpsestError as error:
            if no_space(error):  # the next ones would not fit either
                raise
            failed += 1
            report(message_of(error), options.debug)
        except Exception as error:  # as for lack of GPU memory; other pictures may still fit
            failed += 1
            report(f"{photograph}: {message_of(error)}", options.debug)
        else:
            print(printable(f"{photograph} → {path}"), flush=True)
    return FAILED if failed else DONE


def inspect_arguments(arguments: argparse.ArgumentParser) -> None:
    """Add the arguments of `inspect`."""
    arguments.add_argument("files", metavar="FILE", nargs="+", type=Path, help="file below models/ or results/")


def run_inspect(options: argparse.Namespace) -> int:
    """Print the origin of each file as a YAML document and return the exit status; report files that fail."""
    import yaml  # noqa: PLC0415

    from palimpsest import inspection  # noqa: PLC0415 (PyTorch and MLflow take seconds)

    failed = 0
    for file in options.files:
        try:
            origin = inspection.inspect(file)
        except PalimpsestError as error:
            failed += 1
            report(message_of(error), options.debug)
        else:
            print(yaml.safe_dump(origin, sort_keys=False, allow_unicode=True, explicit_start=True), end="")
    return FAILED if failed else DONE


def classes_arguments(arguments: argparse.ArgumentParser) -> None:
    """Add the arguments of `classes`."""
    arguments.add_argument("--task", required=True, help="name of a segmentation task in params.yaml, as voc-seg")
    override_settings(arguments)
    for split, number, purpose in (("train", 80, "learn"), ("val", 15, "measure")):
        arguments.add_argument(
            f"--min-{split}",
            metavar="N",
            type=positive_integer,
            default=number,
            help=f"pictures of the task's split {split} that suffice to {purpose} a class (default: %(default)s)",
        )


def run_classes(options: argparse.Namespace) -> int:
    """Print the number of pictures per category, and the setting `classes` as YAML; return the exit status."""
    settings = overridden_settings(options.config)
    check_choice("--task", options.task, settings.sequence)

    from palimpsest.class_counts import MinimumCounts, classes_yaml, count_classes, tables  # noqa: PLC0415 (reads pictures)

    counts, minimum = count_classes(settings, options.task), MinimumCounts(options.min_train, options.min_val)
    print(printable(f"{tables(counts, minimum)}\n\n{classes_yaml(counts, minimum)}".lstrip()))
    return DONE


def adopt_arguments(arguments: argparse.ArgumentParser) -> None:
    """Add the arguments of `adopt`."""
    override_settings(arguments)


def run_adopt(options: argparse.Namespace) -> int:
    """Record the outputs in this folder as made with its settings, print the result, and return the exit status."""
    from palimpsest.adoption import adopt  # noqa: PLC0415

    adopted = adopt(overridden_settings(options.config).layout, options.config)
    print(f"{adopted.outputs} outputs are recorded as made with the settings of {PARAMS}")
    if adopted.copied:
        print(f"{adopted.copied} links and write-protected files were replaced by copies")
    for path in adopted.missing:
        print(printable(f"{path} is missing; `{making_command(Path(path))}` makes it"))
    return DONE


COMMANDS = (
    Command(
        name="translate",
        summary="translate pictures of any size",
        description=(
            "Run a trained task on pictures of any size and common format. Each result has the size of its\n"
            "picture and is named PICTURE-TASK.png, with a number if another result or picture has that name."
        ),
        example="palimpsest translate --preset mini --task colorize holiday.jpg portrait.png -o coloured",
        arguments=translate_arguments,
        run=run_translate,
    ),
    Command(
        name="inspect",
        summary="print the origin of a file: settings, seed, commit, data, MLflow run",
        description=(
            "Print the origin of files. For a stored task: its components, the base network it needs, all\n"
            "settings of the training, the commit, the data and the MLflow run; a damaged file is an error.\n"
            "For results: the settings, commit and data of the measurement, and the above for every training\n"
            "measured. Run this in the folder with params.yaml and models/."
        ),
        example="palimpsest inspect models/mini/seed-0/piggyback/voc-seg.safetensors",
        arguments=inspect_arguments,
        run=run_inspect,
    ),
    Command(
        name="classes",
        summary="list the categories with enough pictures to be classes of a task",
        description=(
            "Count the pictures of the task's splits train and val that contain each category of its data set,\n"
            "with at least one labelled pixel. Print the numbers, and as YAML the setting `classes` with every\n"
            "category that has at least --min-train and --min-val pictures. Pictures of the split dev count as\n"
            "train."
        ),
        example="palimpsest classes --task voc-seg --config preset=real data_root=/path/to/folder",
        arguments=classes_arguments,
        run=run_classes,
    ),
    Command(
        name="adopt",
        summary="record outputs of dvc pull or dvc checkout as made by Snakemake",
        description=(
            "Record every output in this folder as made now, with the settings of params.yaml, so that\n"
            "`snakemake all` does not make it again. Use this after `dvc pull`, `dvc checkout` or a copy.\n"
            "Hard links and write-protected files are replaced by copies. Nothing is removed."
        ),
        example="palimpsest adopt --config preset=real data_root=/path/to/folder",
        arguments=adopt_arguments,
        run=run_adopt,
    ),
)
"""Subcommands, in the order of the help."""


if __name__ == "__main__":
    sys.exit(main())
