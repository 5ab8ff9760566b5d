"""Settings of data sets in the format `pictures`."""

from typing import Literal

from palimpsest.data.settings import DatasetSettings


class PictureFolderSettings(DatasetSettings):
    """Folder of pictures without targets (`palimpsest.data.picture_folder`)."""

    format: Literal["pictures"]
    source: Literal["directory"]
