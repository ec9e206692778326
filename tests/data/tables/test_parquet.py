"""Parquet files that are damaged."""

import base64
import subprocess
import sys
import zlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from likewise.data.images.refs import ParquetImage
from likewise.data.tables.parquet import open_parquet

# The size statistics of a column contradict its type: pyarrow ends the process when it is asked for that
# column's metadata. Compressed, since such a file cannot be written on purpose.
CONTRADICTING = (
    "eNqNVE9s21QYf89xnbhNRYZ4lo0y6Um0zhBZsJ3EcVZ30ktZu0IobdCoKNrBSb3GLE2CnZIJOHDggCYOQ9oBIaTtgICqCLQJ"
    "CQnBCSFNkzhxgRMXEJO4cNiRA9+z6dpqm+CTf+/P9/ve7/veH3mVtUwikispclloEpegRxG6hR8TEEKhMSEhE2AByoDKhCRW"
    "BTyDbJjUAA446imsiqYhp5EJsABlQAVQBdiAGsCR0/IisA+Fa9VSPKflJF2dIOIQtwgl5YhEpLyNTghhXRVC49gxiMj3eIku"
    "npDpu+xy/cTuDx++adxe3vvO+fPHOQQ7+k0if4v7O7qZepvLGtSQoJs3nzKpmYVR5G8Hc51Bb9CnFs793Av6/mQ79L2LtKwA"
    "/UrBo70gGhWKtDC4QEfjQeE8rUwCM/LactcPfVoFmZKDkH3qLHJrnKLR0Ov4EaXOI/il3otnVs/ToE9H/qURraeB7+/0etQ0"
    "pmFdE4mmifPyl4aVAabjXfh+l5rl49lMRUT4F9GsnnZR1p5CSPtUNGunKUIO3i3+8d7e7x99dufr96lZx+fUJ7pe1KXWbGFm"
    "xVuhlpkDKfsGEi0Lb5CfRKuMN0rP4mwFUkzvOVZVBn4YDP23Nqll46jo0dDfpO2diFq1408+40BlyN8evBrQv65duUEfeBXZ"
    "wzWoU/f2bJX/3+1UiN0kmfhuHlf51ZglA6edjjfC/J64Z3OwBYkpmTmSOAVuFSdvIOcmWQT5ndv1a3NTv2aIqDWrSJWiTtff"
    "9oiESHZWUIVgcxY18xAbT9MdbzgKBv3Dvome1/Z7/3oUV8trro7yJKtVkZTTuAIRFFf5RFQ+Tuk3BT1z9D1qRdgTIgKCJged"
    "q1zHsqTpyAW5w0L7uWO16xnlW0m/ldE/T/3nmd6f4a6oPShDspNY/wusfIX1byb1O/LRo7tf7Cq+J6bcnVZcPaNcnUJaXs2y"
    "VuuF9VPJgaofCE9zc7YY2BpL7DnGxqyxxRYZ22ILMcUaDcae54MFxpZjx0HPEqoR7Y8SqYUxl47XtmLnywfxsS3ypr20GGys"
    "j3n8RR5vrULDp2vn4nqW2OHSYD3nlla6nbOtYduqsDd4/KVYbJmnAD4u4czBooflX+CNt74W6zfiJfs2P49UOvTC13b80cnO"
    "cHjSC8PBmL7uh1HA/y12ySiZmguPK/nQLrzcVfj1/gOR/CZ6"
)


def test_contradicting_statistics_are_an_error_and_no_crash(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    path.write_bytes(zlib.decompress(base64.b64decode(CONTRADICTING)))
    words = [sys.executable, "-m", "likewise", "data", str(path), "--data.cache-dir", str(tmp_path / "cache")]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 3
    assert done.stderr.startswith(f"likewise data: {path}: column id cannot be read:")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("statistics", [True, False])
@pytest.mark.parametrize("last", [None, b"\x89PNG"])
def test_images_with_paths_alone_are_read_as_paths(
    tmp_path: Path, statistics: bool, last: bytes | None
) -> None:
    """As Hugging Face leaves them; the values decide, as statistics may be missing or wrong."""
    cells = [{"bytes": None, "path": f"{row}.png"} for row in range(100)]
    cells[-1]["bytes"] = last
    path = tmp_path / "table.parquet"
    pq.write_table(pa.table({"image": cells}), path, write_statistics=statistics)
    values = open_parquet(str(path)).read("image", None)
    if last is None:
        assert values == [f"{row}.png" for row in range(100)]
    else:
        assert all(isinstance(value, ParquetImage) for value in values)
