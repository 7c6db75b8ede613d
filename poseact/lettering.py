"""Short texts as small pictures with a filled background, in letters of any script that a font here has."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

log = logging.getLogger(__name__)

# Red, green and blue, 0 to 255.
Colour = tuple[int, int, int]

_BLACK, _WHITE = (0, 0, 0), (255, 255, 255)
# Above and below the letters, and beside them, as a share of the letters' size.
_PADDING = (0.15, 0.35)
# Of a video many texts stand for a second only.
_KEPT_CHIPS = 256


class Lettering:
    """Draws texts. size: of the letters in pixels. texts: all that may come, by which the font is chosen."""

    def __init__(self, size: int, texts: Iterable[str] = ()):
        self.font = ImageFont.truetype(str(_font_with(frozenset("".join(texts)))), size)
        ascent, descent = self.font.getmetrics()
        self._above, self._beside = (max(1, round(share * size)) for share in _PADDING)
        self._baseline = self._above + ascent
        # All chips are as high, so that they do not jump when the letters change.
        self.height = ascent + descent + 2 * self._above
        self.chip = lru_cache(_KEPT_CHIPS)(self._chip)

    def width(self, text: str) -> int:
        """Pixels across the chip of a text."""
        return round(self.font.getlength(text)) + 2 * self._beside

    def _chip(self, text: str, background: Colour) -> np.ndarray:
        """(H, W, 3) uint8 RGB: the text, black or white, whatever can be read better."""
        image = Image.new("RGB", (self.width(text), self.height), background)
        where = (self._beside, self._baseline)
        ImageDraw.Draw(image).text(where, text, font=self.font, fill=readable_on(background), anchor="ls")
        return np.asarray(image)

    def shortened(self, text: str, end: str, most: int) -> str:
        """text and end, the text cut short with … so that the chip is at most so many pixels wide; if nothing of it
        fits, the end alone."""
        if self.width(text + end) <= most:
            return text + end
        for length in range(len(text) - 1, 0, -1):
            short = text[:length].rstrip() + "…" + end
            if self.width(short) <= most:
                return short
        return end.strip()


def readable_on(background: Colour) -> Colour:
    """Black or white, by the contrast that WCAG 2 defines."""
    linear = [(c / 3294.6) if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in background]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return _BLACK if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) else _WHITE


@lru_cache(8)
def _font_with(letters: frozenset[str]) -> Path:
    """A font file with all of these letters, or with most of them: the one that comes with matplotlib, if it can be."""
    import matplotlib

    usual = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans-Bold.ttf"
    if not _missing(usual, letters):
        return usual
    from matplotlib.font_manager import fontManager

    # matplotlib's font of last resort has a box for everything.
    names = {each.fname for each in fontManager.ttflist if each.style == "normal" and "Last Resort" not in each.name}
    best = min([usual, *sorted(map(Path, names))], key=lambda path: len(_missing(path, letters)))
    if missing := _missing(best, letters):
        shown = "".join(sorted(missing)[:10])
        log.warning("no font here has the letters %s; install one, such as Noto Sans, for labels to be readable", shown)
    return best


def _missing(font: Path, letters: frozenset[str]) -> frozenset[str]:
    """Which of the letters a font lacks; all, if it cannot be used."""
    from matplotlib.ft2font import FT2Font

    try:
        known = FT2Font(str(font)).get_charmap()
        ImageFont.truetype(str(font), 12)
    except (OSError, RuntimeError):
        return letters
    return frozenset(letter for letter in letters if ord(letter) not in known and not letter.isspace())
