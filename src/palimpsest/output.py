"""Standard output and error that accept any text in any locale, also after the reading end of a pipe closed."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Output(io.TextIOWrapper):
    """Stream that drops its output after its reader, such as `head`, has closed the pipe: work continues."""

    def write(self, text: str) -> int:
        """Write a text and return its length; drop the text if the pipe is closed."""
        with drop_unread_output(self):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        """Flush the stream, or drop the buffered text if the pipe is closed."""
        with drop_unread_output(self):
            super().flush()


@contextmanager
def drop_unread_output(stream: Output) -> Iterator[None]:
    """Run a block that writes to ``stream``; if the pipe is closed, redirect the stream to the null device.

    The redirection is needed because Python flushes the stream again at exit.
    """
    try:
        yield
    except BrokenPipeError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def survive_any_output() -> None:
    """Make stdout and stderr accept any text: characters that the locale lacks become escapes, as `\\u2192`.

    Each entry point calls this first. Streams of other types, such as those of pytest, stay unchanged.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by the parent process
            null = Path(os.devnull).open("w", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
            setattr(sys, name, null)
        elif type(stream) is io.TextIOWrapper:
            stream.reconfigure(errors="backslashreplace")  # for code with a reference to it, as Snakemake's log
            setattr(sys, name, output_of(stream))


def output_of(stream: io.TextIOWrapper) -> Output:
    """Return an `Output` that writes to the buffer of ``stream`` with the same settings."""
    return Output(
        stream.buffer,
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
