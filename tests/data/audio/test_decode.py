"""Decoding against known signals, and what is refused."""

import io
import struct
from importlib.util import find_spec

import numpy as np
import pytest
from scipy.signal import resample_poly
from sound_files import float_wav_bytes, tone, wav_bytes

from likewise.data.audio.decode import Waves, decode_wave, fitted_wave, resampled
from likewise.data.audio.inputs import several_sounds, sound_waves
from likewise.data.audio.sound_format import SoundFormat
from likewise.errors import DataError, RecordError

FORM = SoundFormat(rate=16_000, seconds=0.5)


def decoded(data: bytes, form: SoundFormat = FORM) -> np.ndarray:
    return decode_wave(data, form)[0] / 32767


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_pcm_of_every_width(width: int) -> None:
    expected = tone(440)
    error = np.abs(decoded(wav_bytes(expected, width=width)) - expected).max()
    assert error < (0.01 if width == 1 else 1e-4)


@pytest.mark.parametrize("width", [4, 8])
def test_floats_and_unknown_chunks(width: int) -> None:
    np.testing.assert_allclose(decoded(float_wav_bytes(tone(440), width=width)), tone(440), atol=2e-5)


def test_floats_beyond_full_scale_are_scaled() -> None:
    loud = decoded(float_wav_bytes(tone(440, amplitude=20.0)))
    np.testing.assert_allclose(loud, tone(440, amplitude=1.0), atol=1e-3)


def test_channels_are_averaged() -> None:
    both = np.stack([tone(440), tone(880, amplitude=0.25)], axis=1)
    np.testing.assert_allclose(decoded(wav_bytes(both)), both.mean(axis=1), atol=1e-4)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000])
def test_resampling_keeps_a_tone(rate: int) -> None:
    found = decoded(wav_bytes(tone(440, rate=rate), rate))
    middle = slice(800, -800)  # the filter sees silence at the edges
    np.testing.assert_allclose(found[middle], tone(440)[middle], atol=4e-3)


def test_resampling_is_scipys() -> None:
    noise = np.random.default_rng(0).normal(size=3000)
    expected = resample_poly(noise, 320, 441)
    np.testing.assert_allclose(resampled(noise, 44_100, 32_000), expected, atol=1e-10)


def test_crop_and_pad() -> None:
    wave, seconds = decode_wave(wav_bytes(tone(440, seconds=2.0)), FORM)
    assert (len(wave), seconds) == (8000, 2.0)
    np.testing.assert_allclose(wave / 32767, tone(440), atol=1e-4)
    short = decoded(wav_bytes(tone(440, seconds=0.2)))
    assert np.abs(short[:3200]).max() > 0.4
    assert not short[3200:].any()
    assert fitted_wave(np.ones((2, 3)), 5).tolist() == [[1, 1, 1, 0, 0]] * 2


def test_an_hour_is_cropped_or_refused() -> None:
    hour = wav_bytes(np.full(3600 * 100, 0.1), 100)
    form = SoundFormat(rate=100, seconds=1.0)
    assert decode_wave(hour, form)[1] == 3600
    with pytest.raises(RecordError, match=r"too long: 3,600\.0 s, and --data\.longest-audio-seconds is 60"):
        decode_wave(hour, form, 60.0)
    with pytest.raises(RecordError, match="too long"):
        Waves(form, 60.0).decode(hour)


def headed(rate: int = 16_000, bits: int = 16, channels: int = 1) -> bytes:
    frame = bits // 8 * channels
    layout = struct.pack("<HHIIHH", 1, channels, rate, rate * frame, frame, bits)
    chunks = b"fmt " + struct.pack("<I", 16) + layout + b"data" + struct.pack("<I", 8) + bytes(8)
    return b"RIFF\0\0\0\0WAVE" + chunks


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "an empty file"),
        (wav_bytes(np.zeros(100)), "silence: every sample is 0"),
        (wav_bytes(np.zeros(0)), "no samples in it"),
        (float_wav_bytes(np.array([0.1, np.nan, 0.2])), "samples that are NaN or infinite"),
        (headed(rate=0), "a sampling rate of 0 Hz"),
        (headed(bits=12), "damaged WAV: 1 channels of 12 bits"),
        (headed(channels=0), "damaged WAV: 0 channels"),
        (b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0", "damaged WAV: its format chunk is cut short"),
        (b"RIFF\0\0\0\0WAVE", "damaged WAV: it has no format"),
        (b"\0\0\0\x20ftypisom" + bytes(40), "no sound file: it begins as MP4, which is a video"),
        (b"RIFF\0\0\0\0AVI LIST" + bytes(40), "no sound file: it begins as AVI"),
        (b"\x1a\x45\xdf\xa3" + bytes(40), "no sound file: it begins as Matroska"),
    ],
)
def test_one_line_for_each_fault(data: bytes, reason: str) -> None:
    with pytest.raises(RecordError, match=reason) as refused:
        decode_wave(data, FORM)
    assert "\n" not in str(refused.value)


@pytest.mark.skipif(find_spec("soundfile") is None, reason="soundfile is an extra")
@pytest.mark.parametrize(("form", "error"), [("FLAC", 1e-4), ("OGG", 0.05), ("MP3", 0.05)])
def test_other_formats(form: str, error: float) -> None:
    import soundfile

    stream = io.BytesIO()
    expected = np.stack([tone(440, seconds=1.0)] * 2, axis=1)
    soundfile.write(stream, expected, 16_000, format=form)
    found = decoded(stream.getvalue())
    middle = slice(2000, -500)
    assert len(found) == 8000
    spectrum = np.abs(np.fft.rfft(found[middle]))
    assert np.fft.rfftfreq(len(found[middle]), 1 / 16_000)[spectrum.argmax()] == pytest.approx(440, abs=3)
    assert np.abs(found[middle]).max() == pytest.approx(0.5, abs=error)
    with pytest.raises(RecordError, match="no sound file that can be read"):
        decode_wave(stream.getvalue()[:20], FORM)


def test_without_soundfile_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "soundfile", None)
    with pytest.raises(RecordError, match=r"need soundfile: pip install 'likewise\[audio\]'"):
        decode_wave(b"fLaC" + bytes(100), FORM)


def test_inputs_of_callers(tmp_path) -> None:
    path, expected = tmp_path / "a.wav", tone(440)
    path.write_bytes(wav_bytes(expected))
    stereo = np.stack([expected, expected], axis=1)
    whole = (expected * 32767).astype(np.int16)
    several = [str(path), path, path.read_bytes(), (expected, 16_000), (stereo, 16_000), (whole, 16_000)]
    waves = sound_waves(several_sounds(several), FORM).numpy() / 32767
    np.testing.assert_allclose(waves, [expected] * 6, atol=2e-4)
    assert len(several_sounds((expected, 16_000))) == len(several_sounds(path)) == 1
    for bad, message in (
        (tmp_path / "none.wav", "none.wav: cannot be read"),
        ("https://a/b.wav", "is an address"),
        ((expected, 0), "sound 3: a sampling rate of 0 Hz"),
        ((np.zeros((2, 2, 2)), 8000), "has samples"),
        (3, "sound 3: is a int"),
    ):
        with pytest.raises(DataError, match=message):
            sound_waves([bad], FORM, first=3)
