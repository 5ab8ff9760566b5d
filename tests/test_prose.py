"""The check of names and docstrings in `make lint`."""

from pathlib import Path

import pytest

from tests.prose import faults


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def train(lesson):\n    pass\n", "a.py:1: lesson is a coined word; write training job"),
        ("class TaskLesson:\n    pass\n", "a.py:1: Lesson is a coined word; write training job"),
        ("found = 3\n", "a.py:1: found is a coined word; write the thing: predicted, paths, rows, …"),
        ("settings.task_pace = 3\n", "a.py:1: pace is a coined word; write lr_multiplier"),
        ('WIDTH = 3\n"""What it is."""\n', "a.py:2: a docstring begins with 'What'; begin with a verb or a noun"),
    ],
)
def test_a_coined_name_and_a_clause_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.py").write_text(source, "utf-8")
    assert list(faults(Path("a.py"))) == [expected]


def test_plain_names_and_sentences_pass(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text(
        'def space(own_share=FileNotFoundError):\n    """Return the space, of which there is one."""\n', "utf-8"
    )
    assert list(faults(path)) == []
