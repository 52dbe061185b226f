#!/usr/bin/env python3
"""Measures podrun's transcription; `tools/bench/transcribe` says how, and gets what this needs.

Every subcommand makes its audio from a seed and prints a table. Whole processes are timed by GNU time;
the time of a transcription alone is what a program says that it took, its model being loaded.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
from dataclasses import dataclass

TOOLS = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOOLS / "speech"))
from wer import word_errors, words  # noqa: E402

FIXTURE = TOOLS.parent / "cli/assets/whisper-fixture"
# Without these no answer is doubted, and none is decoded again.
NO_GUARDS = ["--logprob-threshold", "None", "--compression-ratio-threshold", "None", "--no-speech-threshold", "None"]
# Seconds between a sentence's start and the nearest segment's that count as the same.
START_TOLERANCE_S = 0.15
# Programs that decoded less alike than this did not do the same work.
SAME_WORK = 0.05
NOT_SPOKEN = ("silence", "hum", "white", "music")
MIB = 1024


@dataclass
class Measured:
    """A whole process, and what it said on its standard output."""

    wall_s: float
    cpu_s: float
    peak_kib: int
    said: dict


@dataclass
class Round:
    """One program's way through one audio."""

    wall_s: float
    cpu_s: float
    alone_s: float
    peak_kib: int
    windows: int
    tokens: int


def say(text):
    print(text, file=sys.stderr, flush=True)


def table(titles, rows):
    print("| " + " | ".join(titles) + " |")
    print("|" + "---|" * len(titles))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")
    print(flush=True)


def run(command):
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)


def measure(command, work):
    """Runs a program that prints a JSON object."""
    times = work / "times"
    timed = ["/usr/bin/time", "--output", times, "--format", "%e %U %S %M", *command]
    # Settings of whoever measures are not to count.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PODRUN_")}
    done = subprocess.run([str(part) for part in timed], env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{command[0]} failed with {done.returncode}:\n{done.stderr[-2000:]}")
    wall, user, system, peak = times.read_text().split()
    return Measured(float(wall), float(user) + float(system), int(peak), json.loads(done.stdout))


def podrun(options, files, *flags, model=FIXTURE):
    """Transcribes files in one process; what it took and its transcripts, in the files' order."""
    command = [options.program, "--json", "transcribe", *files, "--model", model, "--threads", options.threads]
    command += ["--compute-type", "int8", "--output-dir", options.work / "out", "--output-format", "json", *flags]
    measured = measure(command, options.work)
    # podrun says what it named them.
    paths = [pathlib.Path(file["outputs"][0]) for file in measured.said["files"]]
    return measured, [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def speech(options, name, minutes, seed, *arguments, count=1, extension="mp3"):
    """Episodes of that length, made unless a run before has made them."""
    folder = options.work / f"{name}-{count}x{minutes:g}min-{seed}"
    made = folder / "made"
    if not made.exists():
        say(f"making {count} x {minutes:g} minutes of speech ({name})")
        command = [sys.executable, TOOLS / "speech/make_speech.py", folder, "--count", count, "--minutes", minutes]
        run([*command, "--seed", seed, "--format", extension, *arguments])
        made.touch()
    return sorted(folder.glob(f"*.{extension}"))


def times_real(audio_s, elapsed_s):
    return f"{elapsed_s:.2f} s, {audio_s / elapsed_s:.1f}x"


# Speed


def speed_of_podrun(options, case, beam, batch):
    flags = ["--language", "en", "--beam-size", beam, "--batch-size", options.podrun_batch, *case["flags"]]
    measured, [transcript] = podrun(options, [case["audio"]], *flags, model=case["model"])
    segments = transcript["segments"]
    return Round(
        measured.wall_s,
        measured.cpu_s,
        measured.said["files"][0]["elapsed_s"],
        measured.peak_kib,
        len({segment["seek"] for segment in segments}),
        sum(len(segment["tokens"]) for segment in segments),
    )


def speed_of_faster_whisper(options, case, beam, batch):
    command = [options.python, TOOLS / "bench/batched_faster_whisper.py", case["model"], case["audio"]]
    command += ["--beam", beam, "--batch", batch, "--threads", options.threads]
    measured = measure(command + (["--words"] if options.words else []), options.work)
    said = measured.said
    return Round(
        measured.wall_s, measured.cpu_s, said["elapsed_s"], measured.peak_kib, said["windows"], said["tokens"]
    )


PROGRAMS = {"podrun": speed_of_podrun, "faster-whisper": speed_of_faster_whisper}


def speed_cases(options):
    """The fixture, of real weights and real lengths, and a real size of random weights."""
    if "fixture" in options.models:
        [audio] = speech(options, "speech", options.minutes, 31)
        yield {"name": "fixture", "model": FIXTURE, "audio": audio, "flags": []}
    for size in options.models:
        if size == "fixture":
            continue
        model = options.work / f"random-{size}"
        if not (model / "model.bin").exists():
            say(f"making a model of the size {size}")
            run([options.python, TOOLS / "bench/random_model.py", model, "--size", size])
        [audio] = speech(options, "speech", options.random_minutes, 32)
        yield {"name": f"{size}, random", "model": model, "audio": audio, "flags": NO_GUARDS}


def alternate(options, case, beam, batch):
    """Rounds of each program, in turn, every other one the other way round."""
    rounds = {name: [] for name in PROGRAMS}
    for number in range(options.rounds):
        for name in list(PROGRAMS) if number % 2 == 0 else reversed(PROGRAMS):
            rounds[name].append(PROGRAMS[name](options, case, beam, batch))
            last = rounds[name][-1]
            say(f"{case['name']}, beam {beam}, batch {batch}: {name} {last.wall_s:.2f} s, {last.alone_s:.2f} s alone")
    return rounds


def median(rounds, field):
    return statistics.median(getattr(one, field) for one in rounds)


def ratio(rounds, field):
    """How many times as fast podrun is: the median of the pairs, which share what disturbed them."""
    pairs = zip(rounds["podrun"], rounds["faster-whisper"])
    return f"{statistics.median(getattr(b, field) / getattr(a, field) for a, b in pairs):.2f}"


def speed_rows(case, audio_s, beam, batch, rounds):
    what = [case["name"], beam, batch]
    for name, own in rounds.items():
        wall, alone = (times_real(audio_s, median(own, field)) for field in ("wall_s", "alone_s"))
        peak = max(one.peak_kib for one in own) / MIB
        yield [*what, name, wall, f"{median(own, 'cpu_s'):.2f} s", alone, f"{peak:.0f}", own[0].windows, own[0].tokens]
    ratios = [ratio(rounds, field) for field in ("wall_s", "cpu_s", "alone_s")]
    yield [*what, "ratio", *ratios, "", "", ""]


def warn_of_other_work(case, beam, batch, rounds):
    ours, theirs = (rounds[name][0] for name in PROGRAMS)
    for field in ("windows", "tokens"):
        a, b = getattr(ours, field), getattr(theirs, field)
        if abs(a - b) > SAME_WORK * max(a, b):
            say(f"not the same work: {case['name']}, beam {beam}, batch {batch}: {a} and {b} {field}")


def seconds_of(audio):
    command = ["ffprobe", "-loglevel", "error", "-show_entries", "format=duration", "-of", "csv=p=0", str(audio)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def speed(options):
    rows = []
    for case in speed_cases(options):
        audio_s = seconds_of(case["audio"])
        for beam in options.beam:
            for batch in options.batch:
                rounds = alternate(options, case, beam, batch)
                warn_of_other_work(case, beam, batch, rounds)
                rows += speed_rows(case, audio_s, beam, batch, rounds)
    titles = ["model", "beam", "batch", "program", "whole process", "CPU", "transcription alone", "peak MiB"]
    table([*titles, "windows", "tokens"], rows)
    their_words = "with" if options.words else "without"
    print(
        f"int8, {options.threads} threads, medians of {options.rounds} rounds in turn; podrun with word times, "
        f"faster-whisper {their_words}. A ratio is faster-whisper's time through podrun's."
    )
    return 0


# Accuracy


ACCURACY_SETS = {
    "English": (41, []),
    "Spanish": (42, ["--language", "es"]),
    "long pauses": (43, ["--long-pauses", "0.1"]),
    "white noise 20 dB below": (44, []),
}


@dataclass
class Score:
    """Counts, so that sums over episodes weigh each by its words and sentences."""

    errors: int = 0
    spoken: int = 0
    on_time: int = 0
    sentences: int = 0

    def __add__(self, other):
        return Score(*(a + b for a, b in zip(vars(self).values(), vars(other).values())))

    def error_rate(self):
        return f"{100 * self.errors / max(1, self.spoken):.2f} %"

    def share_on_time(self):
        return f"{100 * self.on_time / max(1, self.sentences):.1f} %"


def score(truth, transcript):
    spoken = words(" ".join(sentence["text"] for sentence in truth))
    starts = [segment["start"] for segment in transcript["segments"]]
    gaps = [min((abs(start - said["start"]) for start in starts), default=float("inf")) for said in truth]
    on_time = sum(gap <= START_TOLERANCE_S for gap in gaps)
    return Score(word_errors(spoken, words(transcript["text"])), len(spoken), on_time, len(truth))


def truth_of(audio):
    return json.loads(audio.with_name(f"{audio.stem}.truth.json").read_text(encoding="utf-8"))


def episodes(options, name):
    """Audio of a set, and what is said in it."""
    seed, arguments = ACCURACY_SETS[name]
    length = {"count": options.count, "extension": "wav"}
    files = speech(options, name.replace(" ", "-"), options.minutes, seed, "--rate", 16000, *arguments, **length)
    truths = [truth_of(file) for file in files]
    if "noise" in name:
        noisy = [file.with_suffix(".noise") for file in files]
        for clean, file in zip(files, noisy):
            run([options.python, TOOLS / "parity.py", "noise", clean, file])
        files = noisy
    return files, truths


def accuracy(options):
    modes = {"batched": "True", "sequential": "False"}
    rows, overall = [], {mode: Score() for mode in modes}
    for name in ACCURACY_SETS:
        files, truths = episodes(options, name)
        of_set = {}
        for mode, is_batched in modes.items():
            measured, heard = podrun(options, files, "--beam-size", options.beam, f"--batched={is_batched}")
            of_set[mode] = sum(map(score, truths, heard), Score())
            overall[mode] += of_set[mode]
            say(f"{name}, {mode}: {of_set[mode].error_rate()}, {measured.wall_s:.0f} s")
        rows.append(accuracy_row(name, of_set))
    rows.append(accuracy_row("all", overall))
    titles = ["speech", "words", "errors, batched", "sequential", "sentences", "starts on time, batched", "sequential"]
    table(titles, rows)
    print(
        f"Fixture, int8, beam {options.beam}; {options.count} episodes of {options.minutes:g} minutes a row, weighted by words "
        f"and sentences. On time: a segment starts within {START_TOLERANCE_S} s of the sentence."
    )
    return 0


def accuracy_row(name, scores):
    batched, sequential = scores["batched"], scores["sequential"]
    errors = [batched.spoken, batched.error_rate(), sequential.error_rate()]
    return [name, *errors, batched.sentences, batched.share_on_time(), sequential.share_on_time()]


# Nothing invented


def invented(options):
    folder = options.work / f"sound-{options.minutes:g}min"
    files = [folder / f"{kind}.mp3" for kind in NOT_SPOKEN]
    command = [sys.executable, TOOLS / "speech/make_sound.py", folder, "--minutes", options.minutes]
    for kind in NOT_SPOKEN:
        command += ["--kind", kind]
    run(command)
    measured, heard = podrun(options, files, "--beam-size", options.beam)
    counts = [len(words(transcript["text"])) for transcript in heard]
    took = [file["elapsed_s"] for file in measured.said["files"]]
    rows = zip(NOT_SPOKEN, counts, (times_real(60 * options.minutes, seconds) for seconds in took))
    table(["sound", "words written", "time"], rows)
    print(f"Fixture, int8, beam {options.beam}, batched; {options.minutes:g} minutes of each.")
    return 1 if any(counts) else 0


# Memory


def memory_long(options):
    [part] = speech(options, "speech", options.part_minutes, 51)
    times = max(1, round(60 * options.hours / options.part_minutes))
    parts, audio = options.work / "parts", options.work / "long.mp3"
    parts.write_text(f"file '{part.resolve()}'\n" * times)
    run(["ffmpeg", "-y", "-loglevel", "error", "-f", "concat", "-safe", "0", "-i", parts, "-c", "copy", audio])
    measured, [transcript] = podrun(options, [audio], "--beam-size", 1)
    audio_s = transcript["segments"][-1]["end"]
    row = [f"{options.hours:g} h", f"{measured.peak_kib / MIB:.0f} MiB", times_real(60 * 60 * options.hours, measured.wall_s)]
    table(["audio", "peak resident", "whole process", "last word ends at"], [[*row, f"{audio_s:.0f} s"]])
    return 0


def memory_many(options):
    most = max(options.counts)
    files = speech(options, "short", options.minutes, 52, count=most)
    rows = []
    for count in options.counts:
        measured, _ = podrun(options, files[:count], "--beam-size", 1)
        rows.append([count, f"{measured.peak_kib / MIB:.0f} MiB", f"{measured.wall_s:.1f} s"])
    table([f"files of {options.minutes:g} min", "peak resident", "whole process"], rows)
    return 0


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)

    def command(function, minutes=None):
        found = commands.add_parser(function.__name__.replace("_", "-"), description=__doc__)
        found.set_defaults(function=function)
        found.add_argument("--program", type=pathlib.Path, required=True, help="podrun, a release build")
        found.add_argument("--python", default=sys.executable, help="that has faster-whisper")
        found.add_argument("--work", type=pathlib.Path, required=True, help="folder for audio and models")
        found.add_argument("--threads", type=int, default=os.cpu_count(), help="of each program")
        if minutes is not None:
            found.add_argument("--minutes", type=float, default=minutes, help=f"of an audio (default: {minutes})")
        return found

    fast = command(speed, minutes=10)
    fast.add_argument("--models", nargs="+", default=["fixture", "base"], help="fixture, or a size of random weights")
    fast.add_argument("--random-minutes", type=float, default=4, help="of the audio for random weights (default: 4)")
    fast.add_argument("--beam", type=int, nargs="+", default=[5, 1])
    fast.add_argument("--batch", type=int, nargs="+", default=[8], help="of faster-whisper; 8 is its default")
    fast.add_argument("--podrun-batch", type=int, default=0, help="of podrun; 0 leaves it the choice")
    fast.add_argument("--rounds", type=int, default=3)
    fast.add_argument("--words", action="store_true", help="word times from faster-whisper too")
    right = command(accuracy, minutes=10)
    right.add_argument("--count", type=int, default=3, help="episodes of each kind (default: 3)")
    right.add_argument("--beam", type=int, default=5)
    command(invented, minutes=30).add_argument("--beam", type=int, default=5)
    long = command(memory_long)
    long.add_argument("--hours", type=float, default=12)
    long.add_argument("--part-minutes", type=float, default=10, help="of speech, which is repeated (default: 10)")
    command(memory_many, minutes=0.33).add_argument("--counts", type=int, nargs="+", default=[10, 100])
    return parser.parse_args()


def main():
    options = parse()
    options.work = options.work.resolve()
    options.program = options.program.resolve()
    return options.function(options)


if __name__ == "__main__":
    sys.exit(main())
