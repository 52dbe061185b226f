#!/usr/bin/env python3
"""Compares transcripts with those of faster-whisper on the same model and audio.

    compare_faster_whisper.py MODEL AUDIO TRANSCRIPT [AUDIO TRANSCRIPT ...] [--beam N] [--write DIR]
    compare_faster_whisper.py MODEL --variants AUDIO FILE.json

MODEL is a CTranslate2 model folder; TRANSCRIPT is a transcript.json, or a folder that holds one
somewhere below it. faster-whisper runs sequentially, at temperature 0, without conditioning on
previous text and without voice detection; window by window, parity.py compares the two. One line a file tells whether text, segments and tokens
are the same; differences follow. --write keeps faster-whisper's answers as JSON, named after the
audio.

--variants keeps what faster-whisper says of one audio in float32, with word times: plainly, and with
each of the texts that a prompt may hold.

Exits with 1 if a text differs. Needs faster-whisper 1.2 from a package index.
"""

import argparse
import difflib
import json
import pathlib
import sys

TIME_TOLERANCE_S = 0.005


def reference(model, audio, beam_size):
    """What faster-whisper hears, in the shape of a transcript.json."""
    segments, info = model.transcribe(
        str(audio),
        beam_size=beam_size,
        temperature=0.0,
        condition_on_previous_text=False,
        vad_filter=False,
    )
    rows = [
        {
            "start": segment.start,
            "end": segment.end,
            "text": segment.text,
            "tokens": segment.tokens,
            "avg_logprob": segment.avg_logprob,
            "compression_ratio": segment.compression_ratio,
            "no_speech_prob": segment.no_speech_prob,
        }
        for segment in segments
    ]
    return {
        "text": "".join(row["text"] for row in rows),
        "language": info.language,
        "language_probability": info.language_probability,
        "segments": rows,
    }


VARIANTS = {
    "plain": {},
    "beam": {"beam_size": 5},
    "hotwords": {"hotwords": "science Clara"},
    "prefix": {"prefix": "Welcome to the"},
    "initial_prompt": {"initial_prompt": "A show about planets."},
    "conditioned": {"condition_on_previous_text": True},
    "without_timestamps": {"without_timestamps": True},
    "repetition_penalty": {"repetition_penalty": 1.2},
    "no_repeat_ngram_size": {"no_repeat_ngram_size": 2},
    "suppress_tokens": {"suppress_tokens": [-1, 13]},
    "hallucination_silence": {"hallucination_silence_threshold": 0.1},
}


def write_variants(model, audio, path):
    """What faster-whisper says of one audio, by the name of the option that was changed."""
    written = {}
    for name, changes in VARIANTS.items():
        options = {"beam_size": 1, "condition_on_previous_text": False, **changes}
        segments, _ = model.transcribe(str(audio), temperature=0.0, word_timestamps=True, **options)
        written[name] = [
            {
                "seek": segment.seek,
                "start": round(float(segment.start), 3),
                "end": round(float(segment.end), 3),
                "tokens": segment.tokens,
                "words": [
                    [word.word, round(float(word.start), 3), round(float(word.end), 3), round(float(word.probability), 4)]
                    for word in segment.words
                ],
            }
            for segment in segments
        ]
    lines = [f'"{name}": {json.dumps(rows, ensure_ascii=False)}' for name, rows in written.items()]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def read_transcript(path):
    if path.is_dir():
        found = sorted(path.rglob("transcript.json"))
        if len(found) != 1:
            sys.exit(f"{path} holds {len(found)} files transcript.json; name one of them")
        path = found[0]
    return json.loads(path.read_text(encoding="utf-8"))


def times(transcript):
    return [(segment["start"], segment["end"]) for segment in transcript["segments"]]


def same_times(ours, theirs):
    if len(ours) != len(theirs):
        return False
    pairs = zip(ours, theirs)
    return all(abs(a - b) <= TIME_TOLERANCE_S for pair in pairs for a, b in zip(*pair))


def tokens(transcript):
    return [segment["tokens"] for segment in transcript["segments"]]


def largest_gap(ours, theirs, field):
    """Of a number that both give for each segment; None where the segments differ."""
    if len(ours["segments"]) != len(theirs["segments"]):
        return None
    pairs = zip(ours["segments"], theirs["segments"])
    return max((abs(a[field] - b[field]) for a, b in pairs), default=0.0)


def print_differences(ours, theirs):
    def lines(transcript):
        rows = transcript["segments"]
        return [f"[{row['start']:8.2f} - {row['end']:8.2f}]{row['text']}" for row in rows]

    difference = difflib.unified_diff(
        lines(theirs), lines(ours), "faster-whisper", "podrun", lineterm="", n=0
    )
    for line in difference:
        print("   ", line)


def compare(audio, ours, theirs):
    """Prints the verdict on one file; whether the texts are the same."""
    verdicts = {
        "text": ours["text"] == theirs["text"],
        "language": ours["language"] == theirs["language"],
        "segments": same_times(times(ours), times(theirs)),
        "tokens": tokens(ours) == tokens(theirs),
    }
    told = ", ".join(f"{name} {'same' if same else 'DIFFERENT'}" for name, same in verdicts.items())
    print(f"{audio}: {len(theirs['segments'])} segments: {told}")
    for field in ("avg_logprob", "compression_ratio", "no_speech_prob"):
        gap = largest_gap(ours, theirs, field)
        if gap is not None:
            print(f"    {field} differs by at most {gap:.5f}")
    if not all(verdicts.values()):
        print_differences(ours, theirs)
    return verdicts["text"]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("files", type=pathlib.Path, nargs="*", metavar="AUDIO TRANSCRIPT")
    parser.add_argument("--beam", type=int, default=1, help="hypotheses kept; 1 is greedy")
    parser.add_argument("--compute-type", default="default")
    parser.add_argument("--write", type=pathlib.Path, help="folder for faster-whisper's answers")
    parser.add_argument("--variants", type=pathlib.Path, nargs=2, metavar=("AUDIO", "FILE"))
    arguments = parser.parse_args()
    if len(arguments.files) % 2:
        parser.error("every AUDIO needs a TRANSCRIPT behind it")

    from faster_whisper import WhisperModel

    if arguments.variants:
        model = WhisperModel(str(arguments.model), device="cpu", compute_type="float32")
        write_variants(model, *arguments.variants)
        return 0
    model = WhisperModel(
        str(arguments.model), device="cpu", compute_type=arguments.compute_type
    )
    is_same = True
    for audio, transcript in zip(arguments.files[::2], arguments.files[1::2]):
        theirs = reference(model, audio, arguments.beam)
        if arguments.write:
            path = arguments.write / f"{audio.stem}.json"
            path.write_text(json.dumps(theirs, ensure_ascii=False, indent=1) + "\n")
        is_same &= compare(audio, read_transcript(transcript), theirs)
    return 0 if is_same else 1


if __name__ == "__main__":
    sys.exit(main())
