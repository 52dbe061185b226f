#!/usr/bin/env python3
"""Makes audio episodes of known words, with the truth beside them.

    make_speech.py OUT_DIR --count 50 --minutes 0.33 --seed 7

writes OUT_DIR/episode-001.mp3 and OUT_DIR/episode-001.truth.json, a list of
{"start": seconds, "end": seconds, "text": sentence}, and so on. The words for a seed never change;
the waveform is espeak-ng's and may differ between its versions.

Voices, speeds and pitches are those the fixture model was trained on: it hears others badly.
Needs python3, espeak-ng and ffmpeg; nothing from a package index.
"""

import argparse
import concurrent.futures
import io
import json
import os
import pathlib
import random
import subprocess
import sys
import wave
from array import array

from vocabulary import LANGUAGES, pick, sentence

VOICES = {"en": "en-us", "es": "es"}
VARIANTS = ["", "+m3", "+m7", "+f2", "+f4"]
WORDS_PER_MINUTE = (140, 175)
PITCH = (40, 60)
PAUSE_S = (0.25, 0.9)
LONG_PAUSE_S = (2.0, 12.0)
TAIL_S = 0.4
# Below this the synthesiser is silent: its lead-in and tail, which the truth must not count.
SILENT_BELOW = 200
# Leaves headroom, as published episodes do.
GAIN = 0.6
SAMPLE_RATE = 22050


def between(rng, bounds):
    low, high = bounds
    return low + rng.random() * (high - low)


def speak(text, voice, words_per_minute, pitch):
    """The samples of `text`, mono at SAMPLE_RATE, silence at both ends removed."""
    # Standard input keeps a text from being read as an option.
    command = ["espeak-ng", "--stdin", "--stdout", "-v", voice]
    command += ["-s", str(round(words_per_minute)), "-p", str(round(pitch))]
    spoken = subprocess.run(command, input=text.encode(), stdout=subprocess.PIPE, check=True)
    with wave.open(io.BytesIO(spoken.stdout)) as reader:
        if reader.getframerate() != SAMPLE_RATE:
            sys.exit(f"espeak-ng speaks at {reader.getframerate()} Hz, expected {SAMPLE_RATE}")
        samples = array("h", reader.readframes(reader.getnframes()))
    if sys.byteorder == "big":
        samples.byteswap()
    return trimmed(samples)


def trimmed(samples):
    first = next((i for i, sample in enumerate(samples) if abs(sample) > SILENT_BELOW), 0)
    behind = len(samples)
    while behind > first and abs(samples[behind - 1]) <= SILENT_BELOW:
        behind -= 1
    return samples[first:behind]


def sentences_to_say(options, rng):
    """The given script, or sentences without end."""
    if options.script is not None:
        lines = (line.strip() for line in options.script.read_text(encoding="utf-8").splitlines())
        yield from (line for line in lines if line)
        return
    while True:
        yield sentence(rng, options.language)


def compose(options, number):
    """Samples and truth of episode `number`."""
    rng = random.Random(f"{options.seed}/{options.language}/{number}")
    limit = None if options.script else int(options.minutes * 60 * SAMPLE_RATE)
    samples, truth = silence(between(rng, (0.2, 1.0))), []
    variant = pick(rng, VARIANTS)
    for text in sentences_to_say(options, rng):
        if rng.random() < options.change_voice:
            variant = pick(rng, VARIANTS)
        voice = VOICES[options.language] + variant
        spoken = speak(text, voice, between(rng, WORDS_PER_MINUTE), between(rng, PITCH))
        end = len(samples) + len(spoken)
        if limit is not None and end + TAIL_S * SAMPLE_RATE > limit:
            break
        start_s, end_s = round(len(samples) / SAMPLE_RATE, 3), round(end / SAMPLE_RATE, 3)
        truth.append({"start": start_s, "end": end_s, "text": text})
        samples += spoken
        is_long = rng.random() < options.long_pauses
        samples += silence(between(rng, LONG_PAUSE_S if is_long else PAUSE_S))
    if limit is not None:
        samples = (samples + silence(limit / SAMPLE_RATE))[:limit]
    return samples, truth


def silence(seconds):
    return array("h", bytes(2 * int(seconds * SAMPLE_RATE)))


def encode(samples, path, options):
    """Writes `samples` in the format that the extension of `path` names."""
    if sys.byteorder == "big":
        samples.byteswap()
    command = ["ffmpeg", "-y", "-loglevel", "error", "-f", "s16le", "-ar", str(SAMPLE_RATE), "-ac", "1"]
    command += ["-i", "-", "-af", f"volume={GAIN}", "-ar", str(options.rate), "-ac", str(options.channels)]
    # Bit-exact: no encoder version and no date in the file, so that equal input gives equal bytes.
    command += ["-b:a", options.bitrate, "-fflags", "+bitexact", "-flags:a", "+bitexact", str(path)]
    subprocess.run(command, input=samples.tobytes(), check=True)


def make_episode(options, number):
    name = options.name if options.count == 1 and options.name else f"{options.name or 'episode'}-{number:03}"
    samples, truth = compose(options, number)
    encode(samples, options.out / f"{name}.{options.format}", options)
    # The truth last: where it stands, the audio is complete.
    text = json.dumps(truth, ensure_ascii=False, indent=1)
    (options.out / f"{name}.truth.json").write_text(text + "\n", encoding="utf-8")
    words = sum(len(line["text"].split()) for line in truth)
    return f"{name}.{options.format}: {len(samples) / SAMPLE_RATE:.1f} s, {len(truth)} sentences, {words} words"


def parse(arguments):
    parser = argparse.ArgumentParser(description="make spoken episodes of known words")
    parser.add_argument("out", type=pathlib.Path, help="folder to write to")
    parser.add_argument("--count", type=int, default=1, help="episodes to make")
    parser.add_argument("--minutes", type=float, default=0.33, help="length of each, exactly")
    parser.add_argument("--seed", type=int, default=7, help="decides words, voices and pauses")
    parser.add_argument("--language", choices=sorted(LANGUAGES), default="en")
    parser.add_argument("--format", default="mp3", help="file extension that ffmpeg knows: mp3, m4a, ogg, flac, wav")
    parser.add_argument("--bitrate", default="64k")
    parser.add_argument("--rate", type=int, default=44100, help="samples a second of the file")
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--name", help="file name without extension (default: episode-NNN)")
    parser.add_argument("--script", type=pathlib.Path, help="say this file's lines instead of made-up sentences")
    parser.add_argument("--change-voice", type=float, default=0.1, help="chance of a new voice at a sentence")
    parser.add_argument("--long-pauses", type=float, default=0.0, help="share of pauses of 2 to 12 seconds")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="episodes made at a time")
    return parser.parse_args(arguments)


def main(arguments=None):
    options = parse(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    with concurrent.futures.ThreadPoolExecutor(max(1, options.jobs)) as pool:
        numbers = range(1, options.count + 1)
        for line in pool.map(lambda number: make_episode(options, number), numbers):
            print(line)


if __name__ == "__main__":
    main()
