"""Encode images and texts with a trained model and print their cosines.

python examples/encode_and_compare.py runs/scenes a.png b.png --texts "a red circle" "a blue square"
"""

from __future__ import annotations

import argparse

import likewise


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="a run's folder, a model folder or a hub name")
    parser.add_argument("images", nargs="+", help="image files")
    parser.add_argument("--texts", nargs="+", required=True, help="texts to compare them with")
    options = parser.parse_args(arguments)

    model = likewise.load(options.model)
    images = model.encode_images(options.images)  # (N, D), unit length
    texts = model.encode_texts(options.texts)  # (M, D), unit length
    cosines = images @ texts.T  # (N, M)
    for name, row in zip(options.images, cosines, strict=True):
        print(name)
        for index in row.argsort()[::-1]:
            print(f"  {row[index]:+.3f}  {options.texts[index]}")


if __name__ == "__main__":
    main()
