"""Output of commands in any locale, and after its reader has ended."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from palimpsest.output import survive_any_output

SAY = (
    "import sys\n"
    "from palimpsest.output import survive_any_output\n"
    "survive_any_output()\n"
    "for number in range(3):\n"
    "    print('photo.jpg \\u2192 \\xe9', flush=True)\n"
    "    print('caf\\udce9', file=sys.stderr)\n"
    "open('done', 'w').close()\n"
)
ESCAPED = "photo.jpg \\u2192 \\xe9\n"
LOCALES = {
    "C": ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, "ascii", ESCAPED),
    "ascii": ({"PYTHONIOENCODING": "ascii"}, "ascii", ESCAPED),
    "latin-1": ({"PYTHONIOENCODING": "latin-1"}, "latin-1", "photo.jpg \\u2192 é\n"),
    "UTF-8": ({"PYTHONIOENCODING": "utf-8"}, "utf-8", "photo.jpg → é\n"),
}


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("locale", LOCALES)
def test_any_text_is_printed_in_any_locale(locale: str) -> None:
    variables, encoding, printed = LOCALES[locale]
    done = subprocess.run(
        [sys.executable, "-c", SAY], capture_output=True, check=False, env={**os.environ, **variables}
    )
    assert (done.returncode, done.stdout.decode(encoding)) == (0, printed * 3)
    assert done.stderr == b"caf\\udce9\n" * 3


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-", "| true", "2>&1 >&- | true"])
def test_commands_finish_without_a_reader(closed: str) -> None:
    # `true`, the reader of the pipe, ends before the first output.
    command = f'{{ sleep 0.3; exec {sys.executable} -c "$SAY"; }} {closed}'
    done = subprocess.run(
        ["sh", "-c", command], env={**os.environ, "SAY": SAY}, capture_output=True, text=True, check=False
    )
    assert Path("done").exists()
    assert done.returncode == 0 and "Traceback" not in done.stderr and "BrokenPipe" not in done.stderr


def test_replaced_streams_are_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    survive_any_output()
    assert sys.stdout is stream
