"""Writing of pictures, for formats that Pillow encodes."""

import io
from pathlib import Path
from typing import Any

from PIL import Image

from palimpsest.data.pictures import Pixels
from palimpsest.storage.atomic import write_bytes


def write_picture(path: Path, picture: Pixels | Image.Image) -> None:
    """Write a picture, of Pillow or uint8 (H, W, 3), atomically; missing folders are created.

    The suffix of the path is the format.
    """
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    write_bytes(path, encoded(image, path.suffix))


def encoded(picture: Image.Image, suffix: str, **options: Any) -> memoryview:
    """Return the content of a picture file in the format of ``suffix``; ``options`` are those of Pillow's encoder.

    The content is encoded in memory, since Pillow's encoders do not report a full disk.
    """
    content = io.BytesIO()
    picture.save(content, Image.registered_extensions()[suffix.lower()], **options)
    return content.getbuffer()
