"""Writes tests/fixtures/mel/*.json: log-mel values the Rust front end must reproduce.

usage: python tools/reference/mel_vectors.py   (from the repository's root; needs numpy only)

An independent double-precision implementation of the published front end of Whisper: centred frames
with mirrored ends, periodic Hann window, power spectrum, Slaney's mel filters, log10 floored at
1e-10. As in faster-whisper's sequential mode, 160 zero samples follow the audio, the last frame is
dropped, and one frame less than what remains is content.

The signal is a formula (see `signal`), so that no audio has to be stored.
"""

import json
import pathlib

import numpy as np

RATE, WINDOW, HOP, PADDING = 16_000, 400, 160, 160
OUT = pathlib.Path("tests/fixtures/mel")


def signal(count):
    """A chirp with noise of a congruential generator; the middle third is 60 dB quieter."""
    state, noise = 1, np.empty(count)
    for n in range(count):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        noise[n] = (state >> 40) / 2**23 - 1
    n = np.arange(count)
    t = n / RATE
    quiet = np.where(n // (count // 3) == 1, 1e-3, 1.0)
    return (quiet * (0.5 * np.sin(2 * np.pi * (100 + 2000 * t) * t) + 0.05 * noise)).astype(np.float32)


def hertz(mel):
    """Slaney's scale: 200/3 Hz a mel up to 1 kHz, then 27 mel for a factor of 6.4."""
    return mel * 200 / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27)


def filters(bands):
    top = 15 + 27 * np.log(RATE / 2 / 1000) / np.log(6.4)
    edges = [hertz(top * i / (bands + 1)) for i in range(bands + 2)]
    bins = np.arange(WINDOW // 2 + 1) * RATE / WINDOW
    rows = []
    for low, peak, high in zip(edges, edges[1:], edges[2:]):
        rising, falling = (bins - low) / (peak - low), (high - bins) / (high - peak)
        rows.append(np.clip(np.minimum(rising, falling), 0, None) * 2 / (high - low))
    return np.array(rows)


def log_mel(audio, bands):
    padded = np.pad(audio.astype(np.float64), (0, PADDING))
    padded = np.pad(padded, WINDOW // 2, mode="reflect")
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    count = 1 + (len(padded) - WINDOW) // HOP
    frames = np.stack([padded[k * HOP : k * HOP + WINDOW] * hann for k in range(count - 1)])
    power = np.abs(np.fft.rfft(frames)) ** 2
    return np.log10(np.maximum(power @ filters(bands).T, 1e-10))


def write(name, count, bands, step):
    frames = log_mel(signal(count), bands)
    kept = sorted({*range(0, len(frames), step), 1, len(frames) - 2, len(frames) - 1} & {*range(len(frames))})
    document = {
        "n_mels": bands,
        "samples": count,
        "content_frames": len(frames) - 1,
        "max_log_mel": round(float(frames.max()), 6),
        "frames": [{"index": k, "log_mel": [round(float(v), 5) for v in frames[k]]} for k in kept],
    }
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / f"{name}.json").write_text(json.dumps(document, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    write("chirp-80", 24_000, 80, 5)
    write("chirp-128", 24_000, 128, 7)
    write("short-80", 30, 80, 1)
