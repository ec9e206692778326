"""Damaged and odd inputs at random: `make fuzz`, or `python tests/fuzz/fuzz.py --minutes 30 --seed 0`.

Every case is a function of its seed, which is printed when it fails; `--case N` runs one again. Cases run in
a worker process, so that a crash or a hang of one is seen and reported. An input may be read, or refused with
an error of the project; anything else is a failure: another exception, a crash, a hang, a lost row.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import json
import os
import queue
import random
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

HANG_SECONDS = 300  # the first case of a model or a run trains it

WORDS = [
    "a red bus", "two dogs, one cat", 'she said "hello"', "it's", "line\nbreak", "tab\there", "semi;colon",
    "pipe|d", "[SEP] in text", "['not' 'a list']", "['a list', 'of two']", "猫在跑", "café", "emoji 🐱",
    "NaN", "null", "1.0", "0", "-1", "true", "#hash", "back\\slash", 'quote " inside', "ends with \\",
    " spaces ",
    "=1+1", "\u202eright", "zero\u200b",
]  # fmt: skip


def image_bytes(rng: random.Random) -> bytes:
    """A small valid image of a random format and mode."""
    mode, kind = rng.choice(
        [("RGB", "PNG"), ("L", "PNG"), ("RGBA", "PNG"), ("P", "PNG"), ("1", "PNG"), ("I;16", "PNG"),
         ("RGB", "JPEG"), ("L", "JPEG"), ("CMYK", "JPEG"), ("RGB", "WEBP"), ("RGB", "BMP"), ("RGB", "GIF"),
         ("RGB", "TIFF")]
    )  # fmt: skip
    size = (rng.randint(2, 40), rng.randint(2, 40))  # a single pixel shows nothing
    if mode == "I;16":
        image = Image.fromarray(np.full(size[::-1], rng.randrange(65536), np.uint16))
    else:
        image = Image.new("RGB", size, tuple(rng.randrange(256) for _ in range(3))).convert(mode)
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()


def mutated(data: bytes, rng: random.Random) -> bytes:
    """The bytes with a few random changes."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        if not out:
            break
        place = rng.randrange(len(out))
        change = rng.randrange(7)
        if change == 0:
            out[place] ^= 1 << rng.randrange(8)
        elif change == 1:
            out[place] = rng.randrange(256)
        elif change == 2:
            del out[place:]
        elif change == 3:
            out[place:place] = rng.randbytes(rng.randint(1, 16))
        elif change == 4:
            length = min(rng.choice((4, 64, 4096)), len(out) - place)
            out[place : place + length] = bytes(length)
        elif change == 5:
            out[place : place + 8] = rng.choice((b"\xff" * 8, b"\x7f" + b"\xff" * 7, b"\x00" * 8))
        else:
            other = rng.randrange(len(out))
            out[place : place + 32] = out[other : other + 32]
    return bytes(out)


def rows_of(rng: random.Random, count: int) -> list[dict[str, str]]:
    """Rows of a table with odd texts, no two the same."""
    return [
        {
            "id": f"r{i}",
            "caption": f"{rng.choice(WORDS)} {i}",
            "label": rng.choice(("cat", "dog", "0", "1.0")),
        }
        for i in range(count)
    ]


def write_table(folder: Path, rng: random.Random, rows: list[dict[str, str]]) -> Path:
    """The rows as CSV, TSV, JSONL, JSON, Parquet or Arrow."""
    kind = rng.choice(("csv", "tsv", "jsonl", "json", "parquet", "arrow"))
    path = folder / f"table.{kind}"
    if kind in ("csv", "tsv"):
        quoting = rng.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(
                file, list(rows[0]), delimiter="," if kind == "csv" else "\t", quoting=quoting
            )
            writer.writeheader()
            writer.writerows(rows)
    elif kind == "jsonl":
        path.write_text(
            "".join(json.dumps(row, ensure_ascii=rng.random() < 0.5) + "\n" for row in rows), "utf-8"
        )
    elif kind == "json":
        path.write_text(json.dumps(rows), "utf-8")
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=rng.randint(1, 50))
    else:
        table = pa.Table.from_pylist(rows)
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
    return path


def prepared(path: Path, *columns: str) -> object:
    """All rows of a source, bad records allowed."""
    from likewise.data import DataConfig, prepare
    from likewise.data.columns import Needs

    cache = str(path.parent / "cache")
    config = DataConfig(source=str(path), max_bad_share=1.0, cache_dir=cache)
    return prepare(config, image_size=8, needs=Needs(*columns), parts="any")


def fuzz_whole_table(rng: random.Random, folder: Path) -> None:
    """A valid table loses no row: each caption comes back as it was, without space around it."""
    rows = rows_of(rng, rng.randint(4, 40))
    path = write_table(folder, rng, rows)
    splits = prepared(path, "text")
    found = sorted(
        text
        for part in (splits.train, splits.validation)
        if part is not None
        for row in part.texts
        for text in row
    )
    expected = sorted(row["caption"].strip() for row in rows)
    if found != expected:
        lost = sorted(set(expected) - set(found))[:3]
        reported = [bad.reason for bad in splits.bad_records]
        if len(found) + len(reported) < len(expected):
            raise AssertionError(
                f"{path.name}: silently lost {lost!r}; found instead {set(found) - set(expected)!r}"
            )
        if not reported:
            raise AssertionError(f"{path.name}: {lost!r} became {sorted(set(found) - set(expected))[:3]!r}")


def fuzz_damaged_table(rng: random.Random, folder: Path) -> None:
    """A damaged table is read or refused."""
    path = write_table(folder, rng, rows_of(rng, rng.randint(4, 40)))
    path.write_bytes(mutated(path.read_bytes(), rng))
    prepared(path, "text")


def fuzz_image(rng: random.Random, folder: Path) -> None:
    """Damaged images are set aside, the others stay."""
    images = folder / "images"
    images.mkdir()
    for number in range(6):
        data = image_bytes(rng)
        (images / f"{number}.png").write_bytes(data if number < 3 else mutated(data, rng))
    splits = prepared(images, "image")
    kept = sum(len(part) for part in (splits.train, splits.validation) if part is not None)
    if kept + len(splits.bad_records) < 6 or kept < 3:
        raise AssertionError(f"6 images, 3 of them whole: {kept} kept, {len(splits.bad_records)} reported")


def fuzz_tar(rng: random.Random, folder: Path) -> None:
    """A tar shard, whole or damaged."""
    path = folder / "shard.tar"
    with tarfile.open(path, "w") as tar:
        for number in range(5):
            for name, data in (
                (f"{number}.png", image_bytes(rng)),
                (f"{number}.txt", rng.choice(WORDS).encode()),
            ):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    whole = rng.random() < 0.3
    if not whole:
        path.write_bytes(mutated(path.read_bytes(), rng))
    splits = prepared(path, "image")
    kept = sum(len(part) for part in (splits.train, splits.validation) if part is not None)
    if whole and kept != 5:
        raise AssertionError(f"a whole shard of 5 images gave {kept}")


def small_model(folder: Path) -> Path:
    """A tiny CLIP, trained for one step; made once a worker."""
    path = Path(tempfile.gettempdir()) / f"likewise-fuzz-{os.getpid()}"
    if not (path / "model").is_dir():
        import likewise

        settings = likewise.default_settings("clip", "scenes:train=16,validation=8,size=32", image_size=32)
        from dataclasses import replace

        settings = replace(
            settings,
            image=replace(settings.image, width=16, depth=1, heads=1),
            text=replace(settings.text, width=16, depth=1, heads=1, vocabulary_size=300),
            training=replace(settings.training, steps=1, batch_size=8, loggers=()),
        )
        likewise.train(settings, path, show=False)
    shutil.copytree(path, folder / "run")
    return folder / "run"


def fuzz_model(rng: random.Random, folder: Path) -> None:
    """One file of a model folder is damaged, or one value of its config.json is another."""
    import likewise

    model = small_model(folder) / "model"
    if rng.random() < 0.5:
        victim = rng.choice([path for path in sorted(model.iterdir()) if path.suffix != ".md"])
        victim.write_bytes(mutated(victim.read_bytes(), rng))
    else:
        config = json.loads((model / "config.json").read_text())
        changed(config, rng)
        (model / "config.json").write_text(json.dumps(config))
    likewise.load(model).encode_texts(["a red circle"])


def changed(value: object, rng: random.Random) -> None:
    """Replace one value somewhere in nested dictionaries by another kind of value."""
    while isinstance(value, dict) and value:
        key = rng.choice(sorted(value))
        if isinstance(value[key], dict) and value[key] and rng.random() < 0.8:
            value = value[key]
            continue
        odd = [
            None,
            -1,
            0,
            1e300,
            "",
            "x" * 1000,
            [],
            {},
            [[]],
            True,
            20_000,
            {"a": {"b": 1}},
            "../../etc/passwd",
        ]
        value[key] = rng.choice(odd)
        return


def fuzz_run(rng: random.Random, folder: Path) -> None:
    """A damaged file of a run (checkpoint, config, metrics, results) does not end a resume in a trace."""
    import likewise
    from likewise.runs.folder import RunFolder
    from likewise.runs.settings import read_settings

    run = small_model(folder)
    files = [path for path in sorted(run.rglob("*")) if path.is_file() and "model/" not in path.as_posix()]
    victim = rng.choice(files)
    victim.write_bytes(mutated(victim.read_bytes(), rng))
    settings = read_settings(RunFolder(run).config)
    likewise.train(settings, run, resume=True, show=False)


FUZZERS: dict[str, Callable[[random.Random, Path], None]] = {
    name.removeprefix("fuzz_"): function
    for name, function in list(globals().items())
    if name.startswith("fuzz_")
}


def run_case(number: int, only: str | None) -> str:
    """Run one case; "" where it held, else what went wrong."""
    from likewise.errors import LikewiseError

    rng = random.Random(number)
    name = only or rng.choice(sorted(FUZZERS))
    with tempfile.TemporaryDirectory(prefix="likewise-fuzz-") as folder:
        try:
            with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
                warnings.simplefilter("ignore")
                FUZZERS[name](rng, Path(folder))
        except LikewiseError as error:
            if len(str(error)) > 4000:
                return f"{name}: a message of {len(str(error))} characters"
        except Exception:  # noqa: BLE001 - the finding
            return f"{name}: {traceback.format_exc()[-2500:]}"
    return ""


def work(only: str | None) -> None:
    """Run the cases whose numbers come on standard input."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # nothing else may write between the answers
    for line in sys.stdin:
        print(json.dumps(run_case(int(line), only)), file=out, flush=True)


class Worker:
    """A process that runs cases; started again after a crash or a hang."""

    def __init__(self, only: str | None) -> None:
        command = [sys.executable, __file__, "--worker", *(["--only", only] if only else [])]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.answers: queue.Queue[str] = queue.Queue()
        self.said: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._listen, daemon=True).start()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self.answers.put(line)
        self.answers.put("")

    def _listen(self) -> None:
        for line in self.process.stderr or ():
            self.said = [*self.said[-20:], line]

    def run(self, number: int) -> str:
        """What went wrong in a case; "" where nothing did."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{number}\n")
        self.process.stdin.flush()
        try:
            line = self.answers.get(timeout=HANG_SECONDS)
        except queue.Empty:
            self.process.kill()
            self.process.wait()
            return f"no answer within {HANG_SECONDS} seconds"
        if not line:
            return f"the process ended with code {self.process.wait()}:\n{''.join(self.said)[-1500:]}"
        return str(json.loads(line))


def main() -> int:
    """Run cases until the time is over; 1 where one failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument(
        "--seed", type=int, default=None, help="number of the first case; by the clock when not given"
    )
    parser.add_argument("--case", type=int, default=None, help="run this case alone")
    parser.add_argument("--only", choices=sorted(FUZZERS), default=None)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.only)
        return 0
    if options.case is not None:
        found = run_case(options.case, options.only)
        print(found or "held")
        return bool(found)
    first = int(time.time()) if options.seed is None else options.seed
    print(f"cases from seed {first}", flush=True)
    end, number, failures, worker = time.monotonic() + 60 * options.minutes, first, 0, Worker(options.only)
    while time.monotonic() < end:
        found = worker.run(number)
        if found:
            failures += 1
            print(f"\nCASE {number}: {found}", flush=True)
        if worker.process.poll() is not None:
            worker = Worker(options.only)
        number += 1
    worker.process.kill()
    print(f"{number - first} cases, {failures} failed")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
