#!/usr/bin/env python3
"""Compares podrun's sequential mode with faster-whisper's, window by window.

    parity.py noise CLEAN.wav NOISY.wav            adds white noise 20 dB below the speech
    parity.py compare MODEL PROGRAM AUDIO ... [--beam N] [--compute-type T] [--features SIDE]

`compare` runs PROGRAM, the example `segments`, and faster-whisper on each audio: the same model, beam,
arithmetic and number of threads, temperature 0, not conditioned on previous text, no voice detection.
A window is what both decoded from the same frame on; it is the same where all of its tokens are,
timestamps included. A window that only one of the two began at counts as different.

--features ours|theirs gives both programs the features of podrun or of faster-whisper, which tells a
difference of features from one of arithmetic; --repeat runs faster-whisper a second time, in a process
with other environment variables, in podrun's place. Exits with 1 if fewer than --min of the windows
are the same.

Needs faster-whisper 1.2 from a package index.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import wave

import numpy

NOISE_SEED = 20
TIME_TOLERANCE_S = 0.0051


def add_noise(clean, noisy, decibels):
    """Writes 16-bit mono audio with white noise so far below its mean power."""
    with wave.open(str(clean)) as reader:
        parameters = reader.getparams()
        samples = numpy.frombuffer(reader.readframes(reader.getnframes()), dtype="<i2")
    speech = samples.astype(numpy.float64)
    power = numpy.mean(speech**2) / 10 ** (decibels / 10)
    noise = numpy.random.default_rng(NOISE_SEED).standard_normal(len(speech)) * numpy.sqrt(power)
    mixed = numpy.clip(numpy.round(speech + noise), -32768, 32767).astype("<i2")
    with wave.open(str(noisy), "wb") as writer:
        writer.setparams(parameters)
        writer.writeframes(mixed.tobytes())


def podrun(options, audio, extra=()):
    command = [str(options.program.resolve()), str(options.model), str(audio)]
    command += [f"beam={options.beam}", f"compute_type={options.compute_type}"]
    command += [f"threads={options.threads}", f"words={str(options.words).lower()}", *extra]
    lines = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout.splitlines()
    return [json.loads(line) for line in lines[1:]]


def load(options):
    from faster_whisper import WhisperModel

    return WhisperModel(
        str(options.model),
        device="cpu",
        compute_type=options.compute_type,
        cpu_threads=options.threads,
    )


def faster_whisper(model, options, audio, features=None):
    if features is not None:
        # One frame more: it calls all but the last content.
        padded = numpy.pad(features, ((0, 0), (0, 1)))
        model.feature_extractor = Given(model.feature_extractor, padded)
    segments, _ = model.transcribe(
        str(audio),
        beam_size=options.beam,
        temperature=0.0,
        condition_on_previous_text=False,
        word_timestamps=options.words,
    )
    rows = [row(segment) for segment in segments]
    if features is not None:
        model.feature_extractor = model.feature_extractor.real
    return rows


class Given:
    """A feature extractor that gives what it was given."""

    def __init__(self, real, features):
        self.real = real
        self.features = features

    def __getattr__(self, name):
        return getattr(self.real, name)

    def __call__(self, *_, **__):
        return self.features


def row(segment):
    words = segment.words or []
    return {
        "seek": segment.seek,
        "start": segment.start,
        "end": segment.end,
        "text": segment.text,
        "tokens": segment.tokens,
        "avg_logprob": segment.avg_logprob,
        "words": [{"word": w.word, "start": w.start, "end": w.end} for w in words],
    }


def their_features(model, audio):
    from faster_whisper.audio import decode_audio

    return model.feature_extractor(decode_audio(str(audio)))[:, :-1].astype(numpy.float32)


def our_features(options, audio, n_mels):
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "features"
        podrun(options, audio, [f"write_features={file}"])
        return numpy.fromfile(file, dtype="<f4").reshape(n_mels, -1)


def windows(rows):
    grouped = {}
    for segment in rows:
        grouped.setdefault(segment["seek"], []).append(segment)
    return grouped


def tokens(window):
    return [segment["tokens"] for segment in window]


def text(window):
    return "".join(segment["text"] for segment in window)


def word_gap(ours, theirs):
    """The largest difference of a word's time, of windows with the same words."""
    ours = [word for segment in ours for word in segment.get("words", [])]
    theirs = [word for segment in theirs for word in segment.get("words", [])]
    if [word["word"] for word in ours] != [word["word"] for word in theirs]:
        return None
    pairs = zip(ours, theirs)
    return max((abs(a[k] - b[k]) for a, b in pairs for k in ("start", "end")), default=0.0)


def differences(ours, theirs):
    """(kind, seek, ours, theirs) of each window that is not the same."""
    found = []
    for seek in sorted(ours.keys() | theirs.keys()):
        if seek not in theirs or seek not in ours:
            found.append(("begins elsewhere", seek, ours.get(seek), theirs.get(seek)))
        elif text(ours[seek]) != text(theirs[seek]):
            found.append(("other words", seek, ours[seek], theirs[seek]))
        elif tokens(ours[seek]) != tokens(theirs[seek]):
            found.append(("other timestamps", seek, ours[seek], theirs[seek]))
    return found


def tell(difference):
    kind, seek, ours, theirs = difference
    print(f"    {seek / 100:8.2f} s: {kind}")
    for name, window in (("podrun", ours), ("faster-whisper", theirs)):
        if window is None:
            print(f"        {name:>14}: no window")
            continue
        shown = " ".join(f"[{s['start']:.2f} - {s['end']:.2f}]{s['text']}" for s in window)
        print(f"        {name:>14}: {window[0]['avg_logprob']:.4f} {shown}")


def report(audio, ours, theirs, is_told):
    """Prints the verdict on one audio; how many windows there are, and how many are the same."""
    ours, theirs = windows(ours), windows(theirs)
    found = differences(ours, theirs)
    total = len(ours.keys() | theirs.keys())
    same = total - len(found)
    kinds = [kind for kind, *_ in found]
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    print(f"{audio}: {same} of {total} windows the same{': ' if counts else ''}{counts}")
    gaps = [word_gap(ours[seek], theirs[seek]) for seek in ours.keys() & theirs.keys()]
    gaps = [gap for gap in gaps if gap is not None]
    if any(segment.get("words") for window in ours.values() for segment in window):
        far = sum(gap > TIME_TOLERANCE_S for gap in gaps)
        print(f"    word times: {far} windows of {len(gaps)} differ, by at most {max(gaps, default=0):.2f} s")
    for difference in found if is_told else []:
        tell(difference)
    return total, same


def print_feature_gap(ours, theirs):
    frames = min(ours.shape[1], theirs.shape[1])
    gap = numpy.abs(ours[:, :frames] - theirs[:, :frames])
    print(f"    features: {ours.shape[1]} and {theirs.shape[1]} frames, mean difference {gap.mean():.2e}, largest {gap.max():.2e}")


def compare_one(options, model, audio):
    if options.repeat:
        return repeated(options, audio), faster_whisper(model, options, audio)
    if options.features is None:
        return podrun(options, audio), faster_whisper(model, options, audio)
    theirs = their_features(model, audio)
    ours = our_features(options, audio, len(theirs))
    print_feature_gap(ours, theirs)
    shared = ours if options.features == "ours" else theirs
    with tempfile.NamedTemporaryFile() as file:
        file.write(numpy.ascontiguousarray(shared, dtype="<f4").tobytes())
        file.flush()
        heard = podrun(options, audio, [f"read_features={file.name}"])
    return heard, faster_whisper(model, options, audio, shared)


def repeated(options, audio):
    """What faster-whisper says in a process with other environment variables."""
    environment = dict(os.environ, **dict(pair.split("=", 1) for pair in options.repeat))
    command = [sys.executable, __file__, "hear", str(options.model), str(audio)]
    command += ["--beam", str(options.beam), "--compute-type", options.compute_type]
    command += ["--threads", str(options.threads)] + (["--words"] if options.words else [])
    heard = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environment)
    return json.loads(heard.stdout)


def compare(options):
    model = load(options)
    totals = [0, 0]
    for audio in options.audio:
        ours, theirs = compare_one(options, model, audio)
        counts = report(audio.name, ours, theirs, options.tell)
        totals = [sum(pair) for pair in zip(totals, counts)]
    total, same = totals
    share = same / total if total else 1.0
    how = f"beam {options.beam}, {options.compute_type}"
    print(f"{how}: {same} of {total} windows the same, {100 * share:.2f} %")
    return 0 if share >= options.min else 1


def hear(options):
    json.dump(faster_whisper(load(options), options, options.audio[0]), sys.stdout)
    return 0


def decoding_arguments(parser):
    parser.add_argument("--beam", type=int, default=1, help="hypotheses kept; 1 is greedy")
    parser.add_argument("--compute-type", default="int8")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--words", action="store_true", help="with word times")


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    noise = commands.add_parser("noise")
    noise.add_argument("clean", type=pathlib.Path)
    noise.add_argument("noisy", type=pathlib.Path)
    noise.add_argument("--decibels", type=float, default=20.0)
    comparing = commands.add_parser("compare")
    comparing.add_argument("model", type=pathlib.Path)
    comparing.add_argument("program", type=pathlib.Path)
    comparing.add_argument("audio", type=pathlib.Path, nargs="+")
    comparing.add_argument("--features", choices=("ours", "theirs"))
    comparing.add_argument("--repeat", nargs="*", metavar="NAME=VALUE")
    comparing.add_argument("--tell", action="store_true", help="print every difference")
    comparing.add_argument("--min", type=float, default=0.99, help="share that must be the same")
    hearing = commands.add_parser("hear")
    hearing.add_argument("model", type=pathlib.Path)
    hearing.add_argument("audio", type=pathlib.Path, nargs=1)
    for command in (comparing, hearing):
        decoding_arguments(command)
    return parser.parse_args()


def main():
    options = parse()
    if options.command == "noise":
        add_noise(options.clean, options.noisy, options.decibels)
        return 0
    return compare(options) if options.command == "compare" else hear(options)


if __name__ == "__main__":
    sys.exit(main())
