"""Help, wrong usage and settings that cannot be read."""

import functools
import json
import math
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from palimpsest import __version__, cli
from palimpsest.cli import app
from palimpsest.cli.outcome import json_text
from palimpsest.errors import StorageError
from palimpsest.storage.stored_tasks import StoredTasks
from tests.cli.conftest import PARAMS, only_line, picture


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--task", "color"], "--task: unknown value 'color'; did you mean 'colour'?"),
        (["--task", "zzz"], "--task: unknown value 'zzz'; choose from classes, colour, painted"),
        (
            ["--task", "colour", "--method", "pigyback"],
            "--method: unknown value 'pigyback'; did you mean 'piggyback'?",
        ),
        (["--task", "colour", "--preset", "tny"], "--preset: unknown value 'tny'; did you mean 'tiny'?"),
        (
            ["--task", "colour", "--seed", "x"],
            "invalid value for '--seed': Input should be a valid integer, unable to parse string as an integer; "
            "see: palimpsest translate --help",
        ),
        (
            ["--tusk", "colour"],
            "no such option: --tusk (Possible options: --task); see: palimpsest translate --help",
        ),
        ([], "missing option '--task'; see: palimpsest translate --help"),
    ],
)
def test_wrong_usage_gives_one_line_and_status_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    preset = [] if "--preset" in arguments else ["--preset", "tiny"]
    assert cli.main(["translate", *preset, *arguments, "one.png", "-o", "out"]) == 2
    assert only_line(capsys) == f"error: {message}"
    assert not Path("out").exists()


def test_a_file_instead_of_the_folder_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    name = picture("one.png", 32, 32)
    assert cli.main(["translate", "--preset", "tiny", "--task", "colour", name, "-o", name]) == 2
    assert only_line(capsys).startswith("error: one.png: is a file")


def test_a_folder_named_as_a_picture_is_wrong_usage_unless_it_exists(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["translate", "--preset", "tiny", "--task", "colour", picture("one.png", 32, 32), "-o", "result.PNG"]
    assert cli.main(command) == 2
    assert only_line(capsys) == (
        "error: --output: result.PNG is named as a picture, but results go to a folder; name a folder"
    )
    assert not Path("result.PNG").exists()
    Path("result.PNG").mkdir()
    assert cli.main(command) == 0
    assert Path("result.PNG/one-colour.png").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "preset: [tiny\nseeds: 0\n",
            "params.yaml, line 2: is not valid YAML (expected ',' or ']', but got ':'); correct the file",
        ),
        (
            yaml.safe_dump({**PARAMS, "presets": {"tiny": {"training": {"learning_rat": 1}}}}),
            "training.learning_rat: unknown setting; did you mean 'learning_rate'?",
        ),
    ],
)
def test_settings_that_cannot_be_read_give_one_line(
    text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("params.yaml").unlink()
    Path("params.yaml").write_text(text, encoding="utf-8")
    assert cli.main(["translate", "--preset", "tiny", "--task", "colour", "one.png", "-o", "out"]) == 1
    assert only_line(capsys) == f"error: {message}"


def test_outside_a_study_the_line_names_the_folder_to_use(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("params.yaml").unlink()
    assert cli.main(["translate", "--preset", "tiny", "--task", "colour", "one.png", "-o", "out"]) == 1
    message = "error: params.yaml: is missing; run palimpsest in the folder with params.yaml and models/"
    assert only_line(capsys) == message


def test_doctor_refuses_a_preset_that_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--preset", "tny"]) == 2
    assert only_line(capsys) == "error: --preset: unknown value 'tny'; did you mean 'tiny'?"
    Path("params.yaml").unlink()
    assert cli.main(["doctor", "--preset", "tiny"]) == 2
    assert only_line(capsys).startswith("error: --preset: this folder has no params.yaml; remove it, or run")


def test_two_presets_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", "--preset", "tiny", "--config", "preset=other"]) == 2
    assert only_line(capsys) == "error: --preset: --config sets the preset too; remove one of both"


@pytest.mark.parametrize("arguments", [["--debug", "translate"], ["translate", "--debug"]])
def test_a_traceback_is_shown_only_on_request(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    command_line = [*arguments, "--preset", "other", "--task", "colour", "one.png", "-o", "out"]
    assert cli.main(command_line) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert any(StorageError.__name__ in line for line in lines)
    assert lines[-1].startswith("error: models/other/")


def test_an_unexpected_error_gives_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(StoredTasks, "of", lambda *arguments: {}["lost"])
    assert cli.main(["translate", "--preset", "tiny", "--task", "colour", "one.png", "-o", "out"]) == 1
    assert only_line(capsys) == "error: unexpected KeyError: 'lost'; --debug shows where"


def test_an_interruption_gives_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(StoredTasks, "of", interrupt)
    assert cli.main(["translate", "--preset", "tiny", "--task", "colour", "one.png", "-o", "out"]) == 130
    assert only_line(capsys) == "error: interrupted"


@pytest.mark.parametrize("arguments", [["--help"], *([app.name_of(command), "--help"] for command in app.COMMANDS)])
def test_help_contains_an_example(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 0
    named = [command for command in app.COMMANDS if app.name_of(command) == arguments[0]]
    printed = capsys.readouterr().out
    assert all(app.example_of(command) in printed for command in named or app.COMMANDS)


@pytest.mark.parametrize("command", app.COMMANDS, ids=app.name_of)
def test_examples_are_valid(command: Callable[..., int], monkeypatch: pytest.MonkeyPatch) -> None:
    program, *arguments = app.example_of(command).split()
    assert program == "palimpsest"
    called: list[object] = []
    for registered in app.app.registered_commands:
        assert registered.callback is not None

        def note(original: object = registered.callback, **options: object) -> None:
            called.append(original)

        monkeypatch.setattr(registered, "callback", functools.wraps(registered.callback)(note))
    assert cli.main(arguments) == 0
    assert called == [command]


def test_completion_lists_the_subcommands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (
        ("_PALIMPSEST_COMPLETE", "complete_bash"),
        ("COMP_WORDS", "palimpsest tr"),
        ("COMP_CWORD", "1"),
    ):
        monkeypatch.setenv(name, value)
    with suppress(SystemExit):
        cli.main([])
    assert capsys.readouterr().out.split() == ["translate"]


def test_the_package_is_a_program() -> None:
    command = [sys.executable, "-m", "palimpsest", "--version"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert printed == f"palimpsest {__version__}\n"


def test_json_has_null_for_numbers_that_are_not_finite() -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    content = {"a": math.nan, "b": [1.5, -math.inf, {"c": math.inf}], "d": (True, "NaN"), "e": None}
    expected = {"a": None, "b": [1.5, None, {"c": None}], "d": [True, "NaN"], "e": None}
    assert json.loads(json_text(content), parse_constant=refuse) == expected


def test_help_and_wrong_usage_import_no_pytorch() -> None:
    script = (
        "import sys; from palimpsest import cli\n"
        "assert cli.main(['translate', '--preset', 'tiny', '--task', 'color', 'one.png', '-o', 'out']) == 2\n"
        "assert cli.main(['--help']) == 0\n"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


@pytest.mark.parametrize("number", ["0", "-1", "many", "nan"])
def test_the_limit_is_a_number_above_zero(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    command_line = [
        "translate",
        "--preset",
        "tiny",
        "--task",
        "colour",
        "a.png",
        "-o",
        "out",
        "--max-megapixels",
        number,
    ]
    assert cli.main(command_line) == 2
    assert only_line(capsys).startswith("error: invalid value for '--max-megapixels': ")
