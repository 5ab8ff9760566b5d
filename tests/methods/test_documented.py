"""The method that docs/methods.md shows is run as it stands there."""

import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from palimpsest.analysis.forgetting import forgetting_matrix
from palimpsest.methods import METHODS, Entry
from tests.conftest import ROOT

Study = Any
NAME = "palimpsest.methods.gain"
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs/methods.md").read_text("utf-8"), re.DOTALL)


@pytest.mark.slow
def test_the_method_of_the_documents_learns_and_does_not_forget(
    new_study: Callable[..., Study], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, entry = BLOCKS
    assert len(code.splitlines()) <= 40
    file = tmp_path / "gain.py"
    file.write_text(code, "utf-8")
    spec = importlib.util.spec_from_file_location(NAME, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, NAME, module)
    spec.loader.exec_module(module)
    for name, entered in eval(f"{{{entry}}}", {"Entry": Entry}).items():
        monkeypatch.setitem(METHODS, name, entered)
    study = new_study(methods=["gain"])
    study.learn_all("gain")
    gains = study.stored("gain").file("colour").tensors()
    assert gains["encoder.stages.0.0.gain"].shape == (2, 1, 1, 1)
    assert not torch.equal(gains["encoder.stages.0.0.gain"], torch.ones(2, 1, 1, 1))
    cells = list(forgetting_matrix(study.stored("gain"), study.tasks(), study.prepared, torch.device("cpu"), 1))
    for task in study.settings.sequence:
        assert len({cell.measurement.checksum for cell in cells if cell.task == task}) == 1
