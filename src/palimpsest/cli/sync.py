"""`palimpsest sync`: runs that are kept locally, sent to the tracking server."""

from dataclasses import asdict
from typing import Annotated

import typer

from palimpsest.cli.options import PARAMS, Debug
from palimpsest.cli.outcome import DONE, UsageError, json_text
from palimpsest.errors import StorageError, printable
from palimpsest.layout import TRACKING_DATABASE


def sync(
    uri: Annotated[
        str | None,
        typer.Option(
            metavar="URI", help="Server.", show_default="MLFLOW_TRACKING_URI, or tracking.uri of params.yaml"
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    debug: Debug = False,
) -> int:
    """Send the runs of this folder to a tracking server.

    Every run is in mlflow.db. Send what the server lacks: runs, values, files and the model. Nothing is sent twice.
    `snakemake` does the same during a run, if a server is set.

    \b
    example:
      palimpsest sync --uri http://localhost:5000
    """
    from palimpsest.tracking.server import VARIABLE, server_uri, shown  # noqa: PLC0415 (pydantic takes a while)

    uri = uri or server_uri(configured_uri())
    if uri is None:
        raise UsageError(f"name a server with --uri, {VARIABLE} or tracking.uri in {PARAMS}")
    if not TRACKING_DATABASE.exists():
        raise StorageError(f"{TRACKING_DATABASE}: is missing; run palimpsest in the folder of the runs")

    from palimpsest.tracking.store import RunStore  # noqa: PLC0415 (MLflow takes seconds)

    sent = RunStore().send(uri)
    print(json_text(asdict(sent)) if as_json else printable(f"{shown(uri)}: {sent} sent"))
    return DONE


def configured_uri() -> str | None:
    """Return `tracking.uri` of the `params.yaml` in this folder; None without one."""
    if not PARAMS.exists():
        return None
    from palimpsest.params import read, resolve  # noqa: PLC0415

    return resolve(read(PARAMS), {}).tracking.uri
