"""Make ``digits.zip`` from ``digits.csv.gz`` of scikit-learn; see README.md for the source.

python demo/make_digits.py DIGITS_CSV_GZ
"""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

EXTENT = 32
# One fixed time and no compression level of the zip itself, so that the archive is reproducible.
ZIP_TIME = (1998, 7, 1, 0, 0, 0)


def main(source: Path, destination: Path) -> int:
    """Write one PNG a row, ``digits/<digit>/<number>.png``; return their count."""
    table = np.loadtxt(source, delimiter=",", dtype=np.uint8)
    with zipfile.ZipFile(destination, "w") as archive:
        for number, row in enumerate(table):
            # Counts from 0 to 16 become grey levels from 0 to 240, and stay 17 levels.
            small = Image.fromarray(row[:64].reshape(8, 8) * 15)
            large = np.asarray(small.resize((EXTENT, EXTENT), Image.Resampling.BICUBIC))
            levels = (large.astype(np.uint16) + 7) // 15 * 15
            picture = io.BytesIO()
            Image.fromarray(levels.astype(np.uint8)).save(picture, "PNG", optimize=True)
            name = zipfile.ZipInfo(f"digits/{row[64]}/{number:04d}.png", ZIP_TIME)
            archive.writestr(name, picture.getvalue())
    return len(table)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    made = Path(__file__).with_name("digits.zip")
    count = main(Path(sys.argv[1]), made)
    print(f"{made}: {count} images, {made.stat().st_size:,} bytes")
