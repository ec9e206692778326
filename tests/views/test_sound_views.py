"""Log-mels against a transcription in float64 and transformers', and random views of sounds."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sound_files import tone
from transformers import ASTFeatureExtractor, ClapFeatureExtractor
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from likewise.errors import ConfigError
from likewise.messages import flag
from likewise.step_random import StepRandom
from likewise.views import (
    SOUND_PRESETS,
    LogMel,
    SoundViewConfig,
    log_mel,
    random_sound_view,
    whole_sound_view,
)
from likewise.views.log_mel import mel_bands

PLAIN = {"mean": (0.0,), "std": (1.0,)}
NONE = SOUND_PRESETS["none"]
AST = LogMel(
    window=400, hop=160, fft=512, mels=128, low=20.0, scale="kaldi", centered=False, periodic=False,
    without_offset=True, preemphasis=0.97, floor=1.192092955078125e-07,
)  # fmt: skip


def transcription(wave: np.ndarray, settings: LogMel) -> np.ndarray:
    """One frame after another in float64, bands by their triangles' definition."""
    wave = wave.astype(np.float64)
    if settings.centered:
        wave = np.pad(wave, settings.window // 2, mode="reflect")
    steps = np.arange(settings.window)
    span = settings.window if settings.periodic else settings.window - 1
    window = 0.5 - 0.5 * np.cos(2 * np.pi * steps / span)
    high = settings.high or settings.rate / 2
    mel = {"htk": lambda f: 2595 * np.log10(1 + f / 700), "kaldi": lambda f: 1127 * np.log(1 + f / 700)}[
        settings.scale
    ]
    corners = np.linspace(mel(settings.low), mel(high), settings.mels + 2)
    frames = []
    for start in range(0, len(wave) - settings.window + 1, settings.hop):
        frame = wave[start : start + settings.window].copy()
        if settings.without_offset:
            frame -= frame.mean()
        if settings.preemphasis:
            frame = np.array([x - settings.preemphasis * frame[max(0, t - 1)] for t, x in enumerate(frame)])
        power = np.abs(np.fft.fft(frame * window, settings.fft)[: settings.fft // 2 + 1]) ** 2
        bands = []
        for band in range(settings.mels):
            left, middle, right = corners[band : band + 3]
            total = 0.0
            for place, value in enumerate(power):
                hertz = place * settings.rate / settings.fft
                if settings.scale == "kaldi":
                    at = mel(hertz)
                    ends = (left, middle, right)
                else:
                    at = hertz
                    ends = tuple(700 * (10 ** (m / 2595) - 1) for m in (left, middle, right))
                up, down = (at - ends[0]) / (ends[1] - ends[0]), (ends[2] - at) / (ends[2] - ends[1])
                total += max(0.0, min(up, down)) * value
            total = max(total, settings.floor)
            bands.append(10 * np.log10(total) if settings.decibels else np.log(total))
        frames.append(bands)
    return np.array(frames).T


def noise(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, count).astype(np.float32)


def ours(wave: np.ndarray, settings: LogMel) -> np.ndarray:
    return log_mel(torch.from_numpy(wave.astype(np.float32))[None], settings)[0, 0].numpy()


@pytest.mark.parametrize(
    "settings",
    [
        LogMel(window=320, hop=200, fft=512, mels=20),
        replace(AST, mels=16),
        LogMel(fft=640, mels=12, decibels=True),
    ],
)
def test_equals_a_transcription_in_float64(settings: LogMel) -> None:
    wave = noise(1600)
    expected = transcription(wave, settings)
    found = ours(wave, settings)
    assert found.shape == expected.shape == (settings.mels, settings.num_frames(len(wave)))
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("scale", ["htk", "kaldi", "slaney"])
@pytest.mark.parametrize("equal_area", [False, True])
def test_bands_are_transformers(scale: str, equal_area: bool) -> None:
    settings = LogMel(mels=40, scale=scale, equal_area=equal_area and scale != "kaldi")  # type: ignore[arg-type]
    expected = mel_filter_bank(
        num_frequency_bins=513,
        num_mel_filters=40,
        min_frequency=50.0,
        max_frequency=8000.0,
        sampling_rate=16_000,
        norm="slaney" if settings.equal_area else None,
        mel_scale=scale,
        triangularize_in_mel_space=scale == "kaldi",
    )
    np.testing.assert_allclose(mel_bands(settings), expected, atol=1e-6)


def test_spectrogram_is_transformers() -> None:
    settings, wave = LogMel(), noise(8000)
    expected = spectrogram(
        wave,
        window_function(640, "hann"),
        frame_length=640,
        hop_length=320,
        fft_length=1024,
        power=2.0,
        mel_filters=mel_bands(settings),
        mel_floor=settings.floor,
        log_mel="log",
    )
    np.testing.assert_allclose(ours(wave, settings), expected, atol=1e-4)


@pytest.mark.filterwarnings("ignore:At least one mel filter")
def test_ast_and_clap_see_what_their_extractors_make() -> None:
    wave = noise(164_080)
    extractor = ASTFeatureExtractor(do_normalize=False)
    made = extractor(wave, sampling_rate=16_000, return_tensors="np")["input_values"][0].T  # (128, 1024)
    error = np.abs(ours(wave, AST) - made)
    assert np.quantile(error, 0.999) < 1e-4
    assert error.max() < 1e-3  # in cells of hardly any power, where both round
    wave = noise(480_000)
    extractor = ClapFeatureExtractor(truncation="rand_trunc", padding="pad")
    made = extractor(wave, sampling_rate=48_000, return_tensors="np")["input_features"][0, 0].T  # (64, 1001)
    clap = LogMel(
        rate=48_000, window=1024, hop=480, fft=1024, low=0, high=14_000, scale="slaney", equal_area=True,
        decibels=True, floor=1e-10,
    )  # fmt: skip
    np.testing.assert_allclose(ours(wave, clap), made, atol=1e-3)  # of 100 dB


@pytest.mark.parametrize("frequency", [220.0, 440.0, 1000.0, 3000.0])
def test_a_tone_peaks_in_its_band(frequency: float) -> None:
    settings = LogMel()
    found = ours(tone(frequency, seconds=1.0), settings)[:, 5:-5].mean(axis=1).argmax()
    centers = 700 * (
        10
        ** (
            np.linspace(*(2595 * np.log10(1 + f / 700) for f in (np.array(50.0), np.array(8000.0))), 66)
            / 2595
        )
        - 1
    )
    assert found == np.abs(centers[1:-1] - frequency).argmin()


def test_silence_is_the_floor_and_short_sounds_are_refused() -> None:
    settings = LogMel()
    assert (ours(np.zeros(2000), settings) == np.float32(np.log(np.float32(settings.floor)))).all()
    with pytest.raises(ValueError, match="at least 640 samples"):
        ours(np.zeros(639), settings)


def _waves(count: int = 8, length: int = 8000) -> torch.Tensor:
    made = np.stack(
        [tone(200 + 90 * number, seconds=length / 16_000, amplitude=0.3) for number in range(count)]
    )
    return torch.from_numpy((made * 32767).astype(np.int16))


def _view(
    waves: torch.Tensor, config: SoundViewConfig, index: torch.Tensor | None = None, **options
) -> torch.Tensor:
    index = torch.arange(len(waves)) if index is None else index
    settings = {"length": 8000, "settings": LogMel(), "draw": StepRandom(0, 0), "view": 0, **PLAIN, **options}
    return random_sound_view(waves, config=config, index=index, **settings)


def test_a_view_depends_on_seed_step_index_and_number_alone() -> None:
    waves, config = _waves(), SoundViewConfig(noise=1.0)
    whole = _view(waves, config)
    assert torch.equal(_view(waves, config), whole)
    order = torch.tensor([5, 2, 7])
    torch.testing.assert_close(_view(waves[order], config, order), whole[order], atol=1e-4, rtol=0)
    for other in (
        {"draw": StepRandom(1, 0)},
        {"draw": StepRandom(0, 1)},
        {"view": 1},
        {"index": torch.arange(8) + 8},
    ):
        assert (_view(waves, config, **other) - whole).abs().flatten(1).amax(dim=1).min() > 0.1


def test_nothing_is_the_whole_view() -> None:
    waves = _waves()
    whole = whole_sound_view(waves, length=8000, settings=LogMel(), **PLAIN)
    torch.testing.assert_close(_view(waves, NONE), whole)
    shifted = whole_sound_view(waves, length=8000, settings=LogMel(), mean=(-8.0,), std=(2.0,))
    torch.testing.assert_close(shifted, (whole + 8) / 2)
    longer = whole_sound_view(waves, length=12_000, settings=LogMel(), **PLAIN)
    torch.testing.assert_close(longer[..., :24], whole[..., :24])
    assert longer.shape[-1] == 38


def test_a_crop_keeps_a_piece_and_lies_anywhere() -> None:
    config = replace(NONE, crop=(0.5, 0.5))
    loud = (_view(_waves(64), config) > -8).any(dim=2)[:, 0]  # (B, F) frames with the tone
    widths, starts = loud.sum(dim=1), loud.float().argmax(dim=1)
    assert widths.min() >= 12
    assert widths.max() <= 15
    assert starts.min() <= 1
    assert starts.max() >= 10
    # Of a longer sound, a window.
    inside = (_view(_waves(16, 24_000), NONE) > -8).any(dim=2)[:, 0]
    assert inside.all()


def test_gain_and_noise() -> None:
    waves = _waves(64)
    whole = _view(waves, NONE)
    changed = (_view(waves, replace(NONE, gain_db=6.0)) - whole).flatten(1)
    loudest = whole.flatten(1).argmax(dim=1, keepdim=True)
    decibels = 10 * changed.gather(1, loudest) / np.log(10)
    assert decibels.abs().max() <= 6.01
    assert decibels.max() - decibels.min() > 8
    noisy = _view(waves, replace(NONE, noise=1.0, noise_db=(20.0, 20.0)))
    # Power of the noise over the band where no tone is: 20 dB below the tone's, spread over 8 kHz.
    silent = noisy[:8, 0, 40:, 3:-3].exp().mean() / mel_bands(LogMel())[:, 40:].sum(axis=0).mean()
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(640) / 640)) ** 2
    assert float(silent) == pytest.approx(0.3**2 / 2 / 100 * window.sum(), rel=0.1)
    half = (_view(waves, replace(NONE, noise=0.5)) - whole).abs().flatten(1).amax(dim=1) > 0.5
    assert 20 < int(half.sum()) < 44


def test_masks_are_stretches_of_the_given_share() -> None:
    waves = _waves(200)
    config = replace(NONE, time_masks=1, time_mask_share=0.4)
    hidden = (_view(waves, config, mean=(-30.0,)) == 0)[:, 0]  # (B, M, F); nothing else is 0
    columns = hidden.all(dim=1)
    assert torch.equal(hidden.any(dim=1), columns)  # whole frames
    widths = columns.sum(dim=1)
    assert widths.min() == 0
    assert widths.max() == int(0.4 * 26)
    jumps = (columns[:, 1:] != columns[:, :-1]).sum(dim=1)
    assert jumps.max() <= 2  # one stretch
    both = replace(NONE, frequency_masks=2, frequency_mask_share=0.25)
    rows = (_view(waves, both, mean=(-30.0,)) == 0)[:, 0].all(dim=2)
    assert rows.sum(dim=1).max() > 16  # two of up to 16 bands
    assert rows.sum(dim=1).max() <= 32


def test_mixing_adds_a_neighbour() -> None:
    waves = _waves(4)
    mixed, whole = _view(waves, replace(NONE, mix=1.0)), _view(waves, NONE)
    peaks = whole[:, 0].mean(dim=2).argmax(dim=1)
    for row in range(4):
        other = peaks[(row - 1) % 4]
        added = mixed[row, 0, other].mean() - whole[(row - 1) % 4, 0, other].mean()
        assert float(added) == pytest.approx(2 * np.log(0.2), abs=0.7)


def test_wrong_inputs_and_options() -> None:
    with pytest.raises(ValueError, match="int16"):
        _view(_waves().float(), NONE)
    with pytest.raises(ValueError, match="index has shape"):
        _view(_waves(), NONE, torch.arange(3))
    for wrong in (
        {"crop": (0.0, 1.0)},
        {"crop": (0.9, 0.2)},
        {"mix": 1.5},
        {"time_masks": 9},
        {"gain_db": -1.0},
        {"noise_db": (40.0, 10.0)},
        {"frequency_mask_share": 2.0},
    ):
        with pytest.raises(ConfigError, match=flag("views", next(iter(wrong)))):
            SoundViewConfig(**wrong)
