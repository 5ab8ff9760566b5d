"""Settings of data sets in the format `paired`."""

import typing
from typing import Any, Literal

from pydantic import field_validator, model_validator

from palimpsest.data.generated_settings import GeneratedDatasetSettings
from palimpsest.data.targets import VALUES, Target


class PairedDatasetSettings(GeneratedDatasetSettings):
    """Data set of pairs of pictures in folders (`palimpsest.data.paired`), or of generated scenes and their
    degradations."""

    format: Literal["paired"]
    source: Literal["directory", "generated"]
    degradation: Literal["blurred", "noisy", "edges", "coarse", "inverted", "dark", "covered"] | None = None
    """Degradation of generated scenes, which makes the inputs (`palimpsest.data.degradations`); None for the user's
    folder."""
    input_side: Literal["left", "right"] = "left"
    """Half of a file that is the input, in files with input and target side by side."""
    layout: Literal["auto", "side-by-side"] = "auto"
    """Layout of the pairs. `auto`: inputs and targets are found by the names of folders
    (`palimpsest.data.pair_folders`), and files outside such folders are checked to have two pictures side by side;
    `side-by-side`: every file has two pictures side by side, without a check."""
    input_range: tuple[float, float] | None = None
    """Values that become black and white in 16-bit and floating-point grey inputs, as [0, 10000]. Values outside
    are clipped and counted in the log. By default 0 and 65535 for 16 bits, 0 and 1 for floating point."""
    target_range: tuple[float, float] | None = None
    """Values that become black and white in 16-bit and floating-point grey targets, as `input_range` for inputs.
    Leave it out for a task of kind `depth`, which reads numbers."""

    def unfit_for(self, target: Target | None) -> str | None:
        """Return a reason if `target_range` would turn numeric targets into grey levels; None otherwise."""
        if target == VALUES and self.target_range is not None:
            return "target_range turns numbers into grey levels; leave it out, and set range and scale of the task"
        return None

    def generator_options(self) -> dict[str, Any]:
        """Return the degradation."""
        return {"degradation": self.degradation}

    @model_validator(mode="after")
    def _has_degradation(self) -> typing.Self:
        if (self.source == "generated") != (self.degradation is not None):
            raise ValueError(
                "degradation is a setting of source 'generated', which needs it; set degradation, or leave it out "
                "for source 'directory'"
            )
        return self

    @field_validator("input_range", "target_range")
    @classmethod
    def _rises(cls, limits: tuple[float, float] | None) -> tuple[float, float] | None:
        if limits is not None and not limits[0] < limits[1]:
            raise ValueError(f"the first value has to be below the second, found {[*limits]}; correct them")
        return limits
