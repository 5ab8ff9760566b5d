"""The command `palimpsest`: trained tasks at work, one subcommand for each thing one may want of them.

    palimpsest translate --task colorize holiday.jpg -o coloured

Exit status 0 when all is done, 1 when something failed, 2 for wrong use; each problem is one line on stderr. A
subcommand is one entry of `COMMANDS`: its arguments and a function that runs them. PyTorch is imported by that
function and not before, so that help and wrong use are answered at once.
"""

import argparse
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from palimpsest import __version__
from palimpsest.errors import PalimpsestError, SettingsError, explained, nearest, no_space, printable, unwritten
from palimpsest.machine import MAX_MEGAPIXELS
from palimpsest.methods import METHODS
from palimpsest.output import survive_any_output

if TYPE_CHECKING:
    from palimpsest.settings import Settings

DONE, FAILED, WRONG_USE, INTERRUPTED = 0, 1, 2, 130
PARAMS = Path("params.yaml")


class UsageError(PalimpsestError):
    """The command was called in a way that cannot work, whatever the files say."""


@dataclass(frozen=True)
class Command:
    """A subcommand."""

    name: str
    summary: str
    description: str
    example: str
    arguments: Callable[[argparse.ArgumentParser], None]
    """Adds the arguments."""
    run: Callable[[argparse.Namespace], int]
    """Does the work and returns the exit status; a `PalimpsestError` ends it with one line."""


class Parser(argparse.ArgumentParser):
    """Wrong use becomes a `UsageError` of one line, in place of the whole usage."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where help is."""
        raise UsageError(f"{message}; see: {self.prog} --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status; ``argv`` is without the program's name."""
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
        report(explain(error), options.debug)
        return WRONG_USE if isinstance(error, UsageError) else FAILED


def explain(error: Exception) -> str:
    """What an error says to the user; of one that nobody foresaw, its kind too."""
    return explained(error) or f"unexpected {type(error).__name__}: {error}; --debug shows where"


def report(problem: str, debug: bool) -> None:
    """One line on stderr, after the traceback of the error at hand where that is asked for."""
    if debug:
        traceback.print_exc()
    print("error:", " ".join(problem.split()), file=sys.stderr)


def parser() -> Parser:
    """The parser of the whole command line."""
    common = Parser(add_help=False)
    # Suppressed, since a subcommand's default would undo the flag that stands before its name.
    common.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of whatever goes wrong"
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


def choose_model(arguments: argparse.ArgumentParser) -> None:
    """The arguments that name a stored task of the study in this folder."""
    arguments.add_argument("--preset", help="where the task was trained (default: the preset of params.yaml)")
    arguments.add_argument(
        "--method",
        default="piggyback",
        help=f"how it was learned: {', '.join(METHODS)} (default: %(default)s)",
    )
    arguments.add_argument("--seed", type=int, help="of which training (default: the first seed of params.yaml)")
    arguments.add_argument("--task", required=True, help="what to do, by the name in params.yaml, as colorize")


def settings_of(preset: str | None) -> "Settings":
    """The settings in this folder, of the preset that was asked for."""
    from palimpsest.params import read, resolve  # noqa: PLC0415 (pydantic takes a while)

    if not PARAMS.exists():
        raise SettingsError(f"{PARAMS}: not here; run palimpsest in the folder of the study, beside models/")
    content = read(PARAMS)
    if preset is not None:
        check("--preset", preset, content.get("presets") or {})
    content.pop("data_root", None)  # of the preset that params.yaml chooses; who runs a task needs no data
    return resolve(content, {} if preset is None else {"preset": preset})


def check(option: str, name: str, known: Iterable[str]) -> None:
    """Refuse a name that does not exist, and say which is meant.

    Raises:
        UsageError: ``name`` is not among ``known``.
    """
    names = list(known)
    if name not in names:
        raise UsageError(f"{option}: there is no {name!r}{nearest(name, names)}")


def translate_arguments(arguments: argparse.ArgumentParser) -> None:
    """The arguments of `translate`."""
    choose_model(arguments)
    arguments.add_argument(
        "pictures", metavar="PICTURE", nargs="+", type=Path, help="of any size and common format"
    )
    arguments.add_argument(
        "-o", "--output", metavar="DIR", required=True, type=Path, help="folder for the results; made if need be"
    )
    arguments.add_argument(
        "--max-megapixels",
        metavar="N",
        type=positive,
        default=MAX_MEGAPIXELS,
        help="refuse larger pictures; one takes about 25 bytes of memory a pixel (default: %(default)g)",
    )


def positive(text: str) -> float:
    """Return the number above 0 that a text is; the parser refuses what makes this a `ValueError`."""
    number = float(text)
    if not number > 0:
        raise ValueError(f"{text} is not above 0")
    return number


def translate(options: argparse.Namespace) -> int:
    """Translate each picture with one loaded network; those that cannot be read are reported and passed over."""
    check("--method", options.method, METHODS)
    settings = settings_of(options.preset)
    check("--task", options.task, settings.sequence)
    seed = settings.seeds[0] if options.seed is None else options.seed

    from palimpsest import translation  # noqa: PLC0415 (PyTorch takes seconds)
    from palimpsest.data.pictures import Limits, read_picture, write_picture  # noqa: PLC0415

    translator = translation.load(settings, seed, options.method, options.task)
    make_folder(options.output)
    limits = Limits(options.max_megapixels, "--max-megapixels", pipes=True)
    failed = 0
    paths = translation.output_paths(options.pictures, options.task, options.output)
    for photograph, path in zip(options.pictures, paths, strict=True):
        try:
            write_picture(path, translator(read_picture(photograph, limits), photograph))
        except PalimpsestError as error:
            if no_space(error):  # the others would not fit either
                raise
            failed += 1
            report(explain(error), options.debug)
        except Exception as error:  # as when a GPU's memory does not do; the other pictures may still fit
            failed += 1
            report(f"{photograph}: {explain(error)}", options.debug)
        else:
            print(printable(f"{photograph} → {path}"), flush=True)
    return FAILED if failed else DONE


def inspect_arguments(arguments: argparse.ArgumentParser) -> None:
    """The arguments of `inspect`."""
    arguments.add_argument("files", metavar="FILE", nargs="+", type=Path, help="below models/ or results/")


def inspect(options: argparse.Namespace) -> int:
    """Print where each file comes from, as one YAML document."""
    import yaml  # noqa: PLC0415

    from palimpsest import inspection  # noqa: PLC0415 (PyTorch and MLflow take seconds)

    failed = 0
    for file in options.files:
        try:
            found = inspection.inspect(file)
        except PalimpsestError as error:
            failed += 1
            report(explain(error), options.debug)
        else:
            print(yaml.safe_dump(found, sort_keys=False, allow_unicode=True, explicit_start=True), end="")
    return FAILED if failed else DONE


def adopt_arguments(arguments: argparse.ArgumentParser) -> None:
    """Add the arguments of `adopt`."""
    arguments.add_argument(
        "--config",
        metavar="KEY=VALUE",
        nargs="+",
        default=[],
        help="settings that win over params.yaml, as given to snakemake, as preset=real",
    )


def adopt(options: argparse.Namespace) -> int:
    """Record the outputs in this folder as made with its settings, and print what was done."""
    from palimpsest.adoption import adopt  # noqa: PLC0415
    from palimpsest.params import read, resolve  # noqa: PLC0415 (pydantic takes a while)

    if not PARAMS.exists():
        raise SettingsError(f"{PARAMS}: not here; run palimpsest in the folder of the study, beside Snakefile")
    overrides = dict(setting(text) for text in options.config)
    adopted = adopt(resolve(read(PARAMS), overrides).layout, options.config)
    print(f"{adopted.outputs} outputs are recorded as made with the settings of {PARAMS}")
    if adopted.copied:
        print(f"{adopted.copied} links and write-protected files are files of their own now")
    for path in adopted.missing:
        print(printable(f"{path} is missing; `snakemake --cores all {path}` makes it"))
    return DONE


def setting(text: str) -> tuple[str, Any]:
    """Return key and value of `KEY=VALUE`, whose value is YAML as for Snakemake.

    Raises:
        UsageError: the text has another form.
    """
    import yaml  # noqa: PLC0415

    key, equals, value = text.partition("=")
    try:
        return key, yaml.safe_load(value) if key.isidentifier() and equals else wrong_setting(text)
    except yaml.YAMLError:
        wrong_setting(text)


def wrong_setting(text: str) -> NoReturn:
    """Refuse what is no setting."""
    raise UsageError(f"--config: {text!r} is no setting; write KEY=VALUE, as preset=real")


def make_folder(path: Path) -> None:
    """Make a folder for results.

    Raises:
        UsageError: there is a file of that name.
        PalimpsestError: it cannot be made, or nothing can be written there.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UsageError(f"{path}: is a file or lies below one; name a folder for the results") from None
    except OSError as error:
        raise PalimpsestError(f"{unwritten(path, error, 'made a folder')}; name another one") from error


COMMANDS = (
    Command(
        name="translate",
        summary="pictures of any size in, pictures of the same size out",
        description=(
            "Run a trained task on pictures of any size and common format. Each result is of its picture's size\n"
            "and is named PICTURE-TASK.png, with a number where that name is taken by another result or picture."
        ),
        example="palimpsest translate --preset mini --task colorize holiday.jpg portrait.png -o coloured",
        arguments=translate_arguments,
        run=translate,
    ),
    Command(
        name="inspect",
        summary="where a file comes from: settings, seed, commit, data, MLflow run",
        description=(
            "Of a stored task: what is in it and whether it is whole, what it needs, every setting it was trained\n"
            "with, the commit, the data and the MLflow run. Of results: with which settings, commit and data they\n"
            "were measured, and all of the above of every training behind them. To be called in the folder of the\n"
            "study, beside models/."
        ),
        example="palimpsest inspect models/mini/seed-0/piggyback/voc-seg.safetensors",
        arguments=inspect_arguments,
        run=inspect,
    ),
    Command(
        name="adopt",
        summary="after dvc pull or dvc checkout: have Snakemake take what is here for made",
        description=(
            "Record every output in this folder as made now, with the settings of params.yaml, so that\n"
            "`snakemake all` makes none of them again. For files of `dvc pull`, `dvc checkout` or a copy.\n"
            "Hard links and write-protected files become files of their own. Nothing is removed."
        ),
        example="palimpsest adopt --config preset=real data_root=/path/to/folder",
        arguments=adopt_arguments,
        run=adopt,
    ),
)
"""The subcommands, in the order of the help."""


if __name__ == "__main__":
    sys.exit(main())
