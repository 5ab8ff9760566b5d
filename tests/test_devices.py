"""Device and precision of a training."""

import pytest
import torch

from palimpsest.devices import device_for, precision_for
from palimpsest.groups import TrainingSettings


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx512_bf16": True, "amx_bf16": True}, "bf16-mixed"),
        ({"avx512_bf16": True}, "bf16-mixed"),
        ({"avx2": True, "avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, "32-true"),
        ({"avx2": True, "cpu_name": "any"}, "32-true"),
        ({"neon": True, "bf16": True}, "32-true"),
    ],
)
def test_auto_is_bfloat16_if_the_processor_has_instructions_for_it(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, object], expected: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert precision_for(TrainingSettings(accelerator="cpu")) == expected


@pytest.mark.parametrize("supported", [True, False])
def test_auto_depends_on_the_card(monkeypatch: pytest.MonkeyPatch, supported: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: supported)
    assert precision_for(TrainingSettings()) == ("bf16-mixed" if supported else "32-true")
    assert device_for("cpu").type == "cpu"


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_an_explicit_precision_is_kept(monkeypatch: pytest.MonkeyPatch, precision: str) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: pytest.fail("asked"))
    assert precision_for(TrainingSettings(accelerator="cpu", precision=precision)) == precision
