"""Command `palimpsest`, with subcommands on bundles and on the stored tasks of a study.

    palimpsest translate tasks.safetensors holiday.jpg --task colorize -o coloured

The exit status is 0 on success, 1 after a failure, 2 after a usage error; each problem is one line on stderr. A
subcommand is one function in a module of this package and an entry of `COMMANDS`. Only the function imports
PyTorch, so that help and usage errors appear at once.
"""

from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from palimpsest import __version__
from palimpsest.cli import outcome
from palimpsest.cli.add_task import add_task
from palimpsest.cli.bundle import bundle
from palimpsest.cli.compose import compose
from palimpsest.cli.doctor import doctor
from palimpsest.cli.evaluate import evaluate
from palimpsest.cli.export import export
from palimpsest.cli.inspect import inspect
from palimpsest.cli.options import Debug
from palimpsest.cli.outcome import (
    DONE,
    FAILED,
    INTERRUPTED,
    WRONG_USE,
    ResumableInterruptionError,
    UsageError,
    message_of,
    report,
)
from palimpsest.cli.plan import plan
from palimpsest.cli.study import adopt, classes
from palimpsest.cli.sync import sync
from palimpsest.cli.translate import translate
from palimpsest.output import survive_any_output

COMMANDS: tuple[Callable[..., int], ...] = (
    translate,
    compose,
    evaluate,
    add_task,
    bundle,
    export,
    inspect,
    doctor,
    sync,
    plan,
    classes,
    adopt,
)
"""Subcommands, in the order of the help. The docstring of each is its help; the last line is an example."""


def examples() -> list[str]:
    """Return the example of each subcommand."""
    return [example_of(command) for command in COMMANDS]


def name_of(command: Callable[..., int]) -> str:
    """Return the name of a subcommand on the command line."""
    return command.__name__.replace("_", "-")


def example_of(command: Callable[..., int]) -> str:
    """Return the example in the docstring of a subcommand."""
    return (command.__doc__ or "").strip().splitlines()[-1].strip()


app = typer.Typer(
    name="palimpsest",
    help="One network, many image translators.",
    epilog="\b\nexamples:\n" + "\n".join(f"  {example}" for example in examples()),
    no_args_is_help=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for _command in COMMANDS:
    app.command(name_of(_command), help=_command.__doc__)(_command)


def print_version(value: bool) -> None:
    """Print the version and end, if the option is given."""
    if value:
        print(f"palimpsest {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version and end.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Options of all subcommands."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    ``arguments`` are those after the program's name; None means those of this process.
    """
    survive_any_output()
    outcome.debug = False
    try:
        status = app(args=arguments, prog_name="palimpsest", standalone_mode=False)
        if status == INTERRUPTED:  # Typer returns it after a KeyboardInterrupt
            report("interrupted")
        return int(status or DONE)
    except typer.Exit as end:
        return end.exit_code
    except ResumableInterruptionError as interruption:
        report(message_of(interruption))
        return INTERRUPTED
    except (KeyboardInterrupt, typer.Abort):
        report("interrupted")
        return INTERRUPTED
    except typer.TyperException as error:
        report(usage_message(error))
        return WRONG_USE
    except Exception as error:
        report(message_of(error))
        return WRONG_USE if isinstance(error, UsageError) else FAILED


def usage_message(error: typer.TyperException) -> str:
    """Return the message of a usage error of Typer, with a reference to the help."""
    context = getattr(error, "ctx", None)
    message = error.format_message().rstrip(".")
    return f"{message[:1].lower()}{message[1:]}; see: {context.command_path if context else 'palimpsest'} --help"
