#!/usr/bin/env python3
"""The bitmaps of Debian's fonts-noto-color-emoji as PNG files of 32 x 32, for `cld reproduce processes`.

    apt-get install fonts-noto-color-emoji python3-fonttools python3-pil
    /usr/bin/python3 docs/experiments/emoji.py cld-emoji

Every bitmap of the font (strike CBDT) on white, its longer side filling the square; one file each, named by its glyph. Images that are the
same after scaling are written once.
"""
import io
import os
import sys

from fontTools.ttLib import TTFont
from PIL import Image

FONT = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"
SIZE = 32


def square(png: bytes) -> Image.Image:
    """The bitmap in the middle of a white square."""
    picture = Image.open(io.BytesIO(png)).convert("RGBA")
    side = max(picture.size)
    canvas = Image.new("RGBA", (side, side), (255, 255, 255, 255))
    at = ((side - picture.width) // 2, (side - picture.height) // 2)
    canvas.alpha_composite(picture, at)
    return canvas.convert("RGB").resize((SIZE, SIZE), Image.LANCZOS)


def main() -> int:
    if len(sys.argv) not in (2, 3):
        print(__doc__, file=sys.stderr)
        return 2
    folder, font = sys.argv[1], sys.argv[2] if len(sys.argv) == 3 else FONT
    if not os.path.exists(font):
        print(f"emoji.py: {font} is missing: apt-get install fonts-noto-color-emoji", file=sys.stderr)
        return 2
    os.makedirs(folder, exist_ok=True)
    strikes = TTFont(font)["CBDT"].strikeData
    seen, count = set(), 0
    for name, glyph in sorted(strikes[0].items()):
        picture = square(glyph.imageData)
        if picture.tobytes() in seen:
            continue
        seen.add(picture.tobytes())
        picture.save(os.path.join(folder, f"{name}.png"))
        count += 1
    print(f"{count} images of {SIZE} x {SIZE} in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
