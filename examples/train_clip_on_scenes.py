"""Train CLIP on generated scenes from Python, and print its retrieval recall on unseen scenes.

python examples/train_clip_on_scenes.py --steps 400 --out runs/scenes
"""

from __future__ import annotations

import argparse
from dataclasses import replace

from likewise import default_settings, train


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=400, help="training steps")
    parser.add_argument("--batch-size", type=int, default=128, help="scenes a step")
    parser.add_argument("--scenes", type=int, default=10_000, help="training scenes")
    parser.add_argument("--out", default="runs/scenes", help="the run's folder")
    options = parser.parse_args(arguments)

    source = f"scenes:train={options.scenes},validation={max(16, options.scenes // 10)}"
    settings = default_settings("clip", source)
    settings = replace(
        settings,
        image=replace(settings.image, architecture="resnet", width=24),
        text=replace(settings.text, depth=3),
        training=replace(settings.training, steps=options.steps, batch_size=options.batch_size),
    )
    run = train(settings, options.out)

    figures = run.read_json(run.results)["retrieval"]
    for name in ("image_to_text_r1", "text_to_image_r1"):
        print(f"{name}: {figures[name]:.1%} (chance {figures['chance_' + name]:.2%})")
    print(f"model: {run.model}")


if __name__ == "__main__":
    main()
