"""Standard output and error that take any text, in any locale, whether or not anybody reads them."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Output(io.TextIOWrapper):
    """A stream whose reader may go, as `head` does: what is written from then on is lost, and the work goes on."""

    def write(self, text: str) -> int:
        """Write a text."""
        with losing_unread(self):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        """Hand on what was written."""
        with losing_unread(self):
            super().flush()


@contextmanager
def losing_unread(stream: Output) -> Iterator[None]:
    """Send a stream to nowhere when its reader is gone; Python itself flushes it once more at the end."""
    try:
        yield
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def survive_any_output() -> None:
    """Have this process write whatever it says: characters that the locale lacks as escapes, as `\\u2192`.

    To be called first by each entry point. Streams that are not the process's own, as a test's, stay as they are.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by who started this process
            nowhere = Path(os.devnull).open("w", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
            setattr(sys, name, nowhere)
        elif type(stream) is io.TextIOWrapper:
            stream.reconfigure(errors="backslashreplace")  # for who holds this very stream, as Snakemake's log
            setattr(sys, name, output_of(stream))


def output_of(stream: io.TextIOWrapper) -> Output:
    """Return an `Output` that writes as a stream does."""
    return Output(
        stream.buffer,
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
