"""How many log-mel spectrograms a second, beside librosa and transformers, and how far they differ.

    python benchmarks/log_mels.py [--sounds 128] [--seconds 3] [--threads 1] [--rounds 7]

Each starts from the same float32 waves in memory, 16 kHz, and ends in 64 bands of 40 ms every 20 ms. librosa
and transformers take one sound at a time, librosa also a batch. Rounds alternate; the median and the best of
them are printed, since other work on the machine only slows. librosa is left out where it is not installed.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from transformers.audio_utils import spectrogram, window_function

from likewise.data.sounds import make_sounds
from likewise.views import LogMel, log_mel
from likewise.views.log_mel import mel_bands

SETTINGS = LogMel()


def by_transformers(waves: np.ndarray) -> np.ndarray:
    window, bands = window_function(SETTINGS.window, "hann"), mel_bands(SETTINGS)
    made = [
        spectrogram(
            wave,
            window,
            frame_length=SETTINGS.window,
            hop_length=SETTINGS.hop,
            fft_length=SETTINGS.fft,
            power=2.0,
            mel_filters=bands,
            mel_floor=SETTINGS.floor,
            log_mel="log",
        )
        for wave in waves
    ]
    return np.stack(made)


def by_librosa(waves: np.ndarray) -> np.ndarray:
    """As librosa puts the window into the middle of the transform, its frames lie 192 samples elsewhere; the
    wave is padded so that they meet ours."""
    import librosa

    edge = SETTINGS.window // 2
    padded = np.pad(waves, [(0, 0), (edge, edge)], mode="reflect")
    extra = (SETTINGS.fft - SETTINGS.window) // 2
    mels = librosa.feature.melspectrogram(
        y=np.pad(padded, [(0, 0), (extra, extra)]),
        sr=SETTINGS.rate,
        n_fft=SETTINGS.fft,
        win_length=SETTINGS.window,
        hop_length=SETTINGS.hop,
        center=False,
        n_mels=SETTINGS.mels,
        fmin=SETTINGS.low,
        fmax=SETTINGS.rate / 2,
        htk=True,
        norm=None,
    )
    return np.log(np.maximum(mels, SETTINGS.floor))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name, value in (("sounds", 128), ("seconds", 3.0), ("threads", 1), ("rounds", 7)):
        parser.add_argument(f"--{name}", type=type(value), default=value)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    made = make_sounds(options.sounds, seed=0).waves.astype(np.float32) / 32767
    waves = np.resize(made, (options.sounds, round(options.seconds * SETTINGS.rate)))
    tensor = torch.from_numpy(waves)
    works: dict[str, Callable[[], np.ndarray]] = {
        "likewise, in batches": lambda: log_mel(tensor, SETTINGS)[:, 0].numpy(),
        "likewise, one by one": lambda: torch.cat([log_mel(one[None], SETTINGS) for one in tensor])[
            :, 0
        ].numpy(),
        "transformers, one by one": lambda: by_transformers(waves),
    }
    try:
        import librosa
    except ImportError:
        print("librosa is not installed, and is left out")
    else:
        works[f"librosa {librosa.__version__}, in batches"] = lambda: by_librosa(waves)
        works[f"librosa {librosa.__version__}, one by one"] = lambda: np.concatenate(
            [by_librosa(wave[None]) for wave in waves]
        )
    expected = works["likewise, in batches"]()
    differences = {name: np.abs(work() - expected).max() for name, work in works.items()}  # also warms up
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(options.rounds):
        for name, work in works.items():
            began = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - began)
    print(f"{options.sounds} sounds of {options.seconds:g} s, {options.threads} threads; log-mels a second")
    for name, times in seconds.items():
        median, best = (options.sounds / value for value in (statistics.median(times), min(times)))
        print(f"{name:<36} {median:>8,.0f} (best {best:,.0f})  largest difference {differences[name]:.1e}")


if __name__ == "__main__":
    main()
