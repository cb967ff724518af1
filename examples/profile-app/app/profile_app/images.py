# SPDX-License-Identifier: Apache-2.0
"""Pictures that strangers send.

A picture is decoded for real and written anew, upright and without metadata (a phone's photo says where it was taken).
Pillow and not pyvips: it refuses oversized pictures from their header, ships with everything it needs in its wheel, and
is what people know; pyvips is faster on very large pictures.
"""

from __future__ import annotations

import io
import warnings

from PIL import Image, ImageOps, UnidentifiedImageError

OCTETS_MAX = 10 * 1024 * 1024
PIXELS_MAX = 40_000_000
SIDE_PX = 1024
FORMATS = ("PNG", "JPEG", "WEBP", "GIF")


class BadPicture(Exception):  # noqa: N818 - says what it is
    """The text is for the person who sent it."""


def clean(data: bytes) -> bytes:
    """A PNG of at most 1,024 x 1,024 pixels.

    Raises:
        BadPicture: it is no picture, or too large.
    """
    if len(data) > OCTETS_MAX:
        raise BadPicture(f"The file is larger than {OCTETS_MAX // 1024 // 1024} MB.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                if image.width * image.height > PIXELS_MAX:
                    raise BadPicture("The picture has more than 40 million pixels.")
                image.draft("RGB", (SIDE_PX * 2, SIDE_PX * 2))
                upright = ImageOps.exif_transpose(image).convert("RGBA")
    except UnidentifiedImageError:
        raise BadPicture("This is not a PNG, JPEG, WebP or GIF picture.") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise BadPicture("The picture is damaged or too large.") from None
    upright.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    upright.save(out, "PNG")
    return out.getvalue()
