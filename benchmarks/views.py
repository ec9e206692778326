"""How many views a second: SimCLR's augmentation, batched here against one image at a time with Pillow.

    python benchmarks/views.py [--store 80] [--size 64] [--threads 2]

Both start from the same uint8 squares in memory and end in normalised float32 tensors. Pillow gets one
process for each thread. Rounds alternate; the median and the best of them are printed, since other work on
the machine only slows.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageFilter

from likewise.data.scenes import draw_scenes
from likewise.encoders.image import IMAGENET_MEAN, IMAGENET_STD
from likewise.step_random import StepRandom
from likewise.views import ViewConfig, center_view, random_view, view_preset

_images = np.empty(0)


def pillow_view(array: np.ndarray, size: int, config: ViewConfig) -> np.ndarray:
    """The same operations as torchvision composes them, on one (H, H, 3) image."""
    side = array.shape[0]
    left, top, wide, tall = pillow_box(side, config)
    image = Image.fromarray(array).resize(
        (size, size), Image.Resampling.BILINEAR, box=(left, top, left + wide, top + tall)
    )
    if random.random() < config.flip:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if random.random() < config.jitter:
        steps = [pillow_enhance(ImageEnhance.Brightness, config.brightness)]
        steps.append(pillow_enhance(ImageEnhance.Contrast, config.contrast))
        steps.append(pillow_enhance(ImageEnhance.Color, config.saturation))
        steps.append(lambda image: pillow_hue(image, random.uniform(-config.hue, config.hue)))
        random.shuffle(steps)
        for step in steps:
            image = step(image)
    if random.random() < config.grey:
        image = image.convert("L").convert("RGB")
    if random.random() < config.blur:
        image = image.filter(ImageFilter.GaussianBlur(random.uniform(*config.blur_sigma)))
    pixels = np.asarray(image, dtype=np.float32) / 255
    return np.ascontiguousarray(
        ((pixels - IMAGENET_MEAN) / IMAGENET_STD).transpose(2, 0, 1), dtype=np.float32
    )


def pillow_box(side: int, config: ViewConfig) -> tuple[float, float, float, float]:
    for _ in range(10):
        area = side * side * random.uniform(*config.crop_scale)
        ratio = np.exp(random.uniform(*np.log(config.crop_ratio)))
        wide, tall = (area * ratio) ** 0.5, (area / ratio) ** 0.5
        if wide <= side and tall <= side:
            return random.uniform(0, side - wide), random.uniform(0, side - tall), wide, tall
    return 0, 0, side, side


def pillow_enhance(kind: Callable, strength: float) -> Callable[[Image.Image], Image.Image]:
    return lambda image: kind(image).enhance(random.uniform(1 - strength, 1 + strength))


def pillow_hue(image: Image.Image, turn: float) -> Image.Image:
    hue, saturation, value = image.convert("HSV").split()
    turned = (np.asarray(hue).astype(np.int16) + round(turn * 255)).astype(np.uint8)
    return Image.merge("HSV", (Image.fromarray(turned), saturation, value)).convert("RGB")


def pillow_part(job: tuple[int, int, int]) -> int:
    start, stop, size = job
    torch.stack([torch.from_numpy(pillow_view(image, size, ViewConfig())) for image in _images[start:stop]])
    return stop - start


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", type=int, default=80, help="side of the stored images")
    parser.add_argument("--size", type=int, default=64, help="side of the views")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    images = torch.from_numpy(draw_scenes(options.batch, seed=0, size=options.store).images)
    global _images
    _images = images.permute(0, 2, 3, 1).contiguous().numpy()
    index = torch.arange(options.batch)
    normal = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}

    def batched(name: str) -> Callable[[int], object]:
        config = view_preset(name)
        return lambda step: random_view(
            images, size=options.size, config=config, draw=StepRandom(0, step), index=index, view=0, **normal
        )

    part = options.batch // options.threads
    jobs = [(k * part, (k + 1) * part, options.size) for k in range(options.threads)]
    works: dict[str, Callable[[int], object]] = {
        f"likewise {n}": batched(n) for n in ("simclr", "simclr-small", "clip")
    }
    works["likewise center view"] = lambda step: center_view(images, size=options.size, **normal)
    times: dict[str, list[float]] = {}
    with multiprocessing.get_context("fork").Pool(options.threads) as pool:
        works["pillow simclr"] = lambda step: pool.map(pillow_part, jobs)
        for step in range(options.rounds + 1):
            for name, work in works.items():
                taken = seconds(lambda work=work, step=step: work(step))
                if step > 0:  # the first round warms up
                    times.setdefault(name, []).append(taken)
    pillow = statistics.median(times["pillow simclr"]), min(times["pillow simclr"])
    print(f"{options.store} px to {options.size} px, batches of {options.batch}, {options.threads} threads")
    print(f"{'views a second':24}{'median':>10}{'best':>10}{'x Pillow':>10}{'(best)':>10}")
    for name, taken in times.items():
        median, best = statistics.median(taken), min(taken)
        print(
            f"{name:24}{options.batch / median:10.0f}{options.batch / best:10.0f}"
            f"{pillow[0] / median:10.1f}{pillow[1] / best:10.1f}"
        )


if __name__ == "__main__":
    main()
