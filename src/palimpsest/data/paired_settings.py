"""Settings of data sets in the format `paired`."""

from typing import Literal

from pydantic import field_validator

from palimpsest.data.settings import DatasetSettings
from palimpsest.data.targets import VALUES, Target


class PairedDatasetSettings(DatasetSettings):
    """Data set of pairs of pictures in folders (`palimpsest.data.paired`)."""

    format: Literal["paired"]
    source: Literal["directory"]
    input_side: Literal["left", "right"] = "left"
    """The half that is the input, where files hold both halves side by side."""
    layout: Literal["auto", "side-by-side"] = "auto"
    """Layout of pairs: `auto` finds inputs and targets by the names of folders (`palimpsest.data.pair_folders`)
    and checks that files outside such folders hold two pictures; `side-by-side` takes every file for such a one."""
    input_range: tuple[float, float] | None = None
    """Values that become black and white in inputs that are grey pictures of 16 bits and more, as [0, 10000].
    Values outside are clipped and counted in the log. Default: the full range."""
    target_range: tuple[float, float] | None = None
    """The same for targets, such as depth in millimetres that is learned as a picture."""

    def unfit_for(self, target: Target | None) -> str | None:
        """Return a reason if `target_range` would turn numeric targets into grey levels; None otherwise."""
        if target == VALUES and self.target_range is not None:
            return "target_range turns numbers into grey levels; leave it out, and set range and scale of the task"
        return None

    @field_validator("input_range", "target_range")
    @classmethod
    def _rises(cls, limits: tuple[float, float] | None) -> tuple[float, float] | None:
        if limits is not None and not limits[0] < limits[1]:
            raise ValueError(f"the first value has to be below the second, found {[*limits]}; correct them")
        return limits
