"""`palimpsest doctor`: what to mend on this machine."""

from contextlib import suppress
from dataclasses import asdict
from typing import Annotated

import typer

from palimpsest.cli.options import PARAMS, Debug, check_preset
from palimpsest.cli.outcome import DONE, FAILED, UsageError, json_text
from palimpsest.errors import SettingsError, printable


def doctor(
    preset: Annotated[
        str | None, typer.Option(metavar="NAME", help="Preset to check.", show_default="that of params.yaml")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    debug: Debug = False,
) -> int:
    """Check this machine and this folder.

    Print a line on each: packages, processor, memory, disk, GPU, and in the folder of a study its settings, data,
    commit and tracking. A fault is printed with the way to mend it, and the exit status is then 1.

    \b
    example:
      palimpsest doctor --preset real
    """
    if preset is not None:
        if not PARAMS.exists():
            raise UsageError(f"--preset: this folder has no {PARAMS}; remove it, or run palimpsest beside {PARAMS}")
        from palimpsest.params import read  # noqa: PLC0415 (pydantic takes a while)

        with suppress(SettingsError):  # of params.yaml; the findings include it
            check_preset(preset, read(PARAMS))

    from palimpsest.doctor import examine  # noqa: PLC0415 (PyTorch takes seconds)

    findings = list(examine(preset))
    if as_json:
        print(json_text([asdict(finding) for finding in findings]))
    else:
        for finding in findings:
            print(printable(f"{finding.state:<6} {finding.topic:<15} {finding.text}"))
    return FAILED if any(finding.state == "fault" for finding in findings) else DONE
