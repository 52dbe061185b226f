#!/usr/bin/env python3
"""Reads podrun's transcripts with other people's readers.

    test_formats.py PROGRAM

makes transcripts, plain and hostile ones, lets PROGRAM (the example `write_formats`) write them in
every format, and reads those with webvtt-py, pysrt, DuckDB and Python's own json and csv. Every word
has to come back, in order and in time. Needs the packages of requirements.txt.
"""

import csv
import html
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import unicodedata

import duckdb
import pysrt
import webvtt

NO_NUMBER = -999.0
MAX_WIDTH = 42
MAX_LINES = 2

HOSTILE = [
    "-->", "00:00:01.000 --> 00:00:02.000", "1", "&", "&amp;", "<b>", "</v>", "<00:00:01.000>",
    "NOTE", "STYLE", "WEBVTT", "a\tb", "line\nline", "\n\n", "\r\n", "\x00", "\x1b[31m", "\x85",
    "\u2028", "\u2029", "\u00a0", "\ufeff", "\u202eright to left\u202c", "שלום", "مرحبا", "👩‍👩‍👧",
    "e\u0301", "{\\an8}", '"', "'", "\\", "\\n", "=1+1", "Ω" * 60, "今日は雨です", ",", ";",
]


def one_line(text):
    """The words of a text as every format has them."""
    breaks = (c for c in text)
    spaced = "".join(" " if is_break(c) else c for c in breaks)
    return " ".join(word for word in spaced.split(" ") if word.strip()).strip()


def is_break(c):
    return unicodedata.category(c) == "Cc" or (c.isspace() and c != "\u00a0")


def words_of(text, start, end):
    pieces = [f" {word}" for word in one_line(text).split(" ") if word]
    step = (end - start) / max(1, len(pieces))
    return [
        {
            "word": piece,
            "start": start + number * step,
            "end": start + (number + 0.8) * step,
            "probability": 0.5,
        }
        for number, piece in enumerate(pieces)
    ]


def segment(number, start, end, text, with_words):
    return {
        "id": number,
        "seek": 0,
        "start": start,
        "end": end,
        "text": text,
        "tokens": [50364, 1, 2],
        "temperature": 0.0,
        "avg_logprob": -0.25,
        "compression_ratio": 1.5,
        "no_speech_prob": 0.01,
        "words": words_of(text, start, end) if with_words else [],
    }


def transcript(segments, language="en"):
    return {
        "text": "".join(s["text"] for s in segments),
        "segments": segments,
        "language": language,
        "language_probability": 0.9,
        "duration": max((s["end"] for s in segments), default=0.0),
    }


def spoken(texts, with_words, begin=0.0, each=5.0, language="en"):
    rows = [
        segment(n, begin + n * each, begin + (n + 1) * each, text, with_words)
        for n, text in enumerate(texts)
    ]
    return transcript(rows, language)


def cases():
    rng = random.Random(5)
    plain = ["Good morning, everybody, and welcome to a show about gardens.", " It rains."]
    yield "empty", transcript([])
    yield "plain", spoken(plain, False)
    yield "words", spoken([" " + text for text in plain], True)
    yield "long", spoken([" " + "never ending sentences " * 40], True, each=60.0)
    yield "late", spoken(plain, True, begin=399_599.0)
    yield "japanese", spoken(["今日は雨です。"], False, language="ja")
    for with_words in (False, True):
        name = "words" if with_words else "segments"
        yield f"hostile-{name}", spoken(HOSTILE, with_words)
        for number in range(8):
            texts = [" ".join(rng.choices(HOSTILE, k=rng.randint(0, 6))) for _ in range(12)]
            yield f"mixed-{name}-{number}", spoken(texts, with_words)
    broken = spoken(plain, True)
    for row in broken["segments"]:
        for score in ("temperature", "avg_logprob", "compression_ratio", "no_speech_prob"):
            row[score] = NO_NUMBER
        row["end"] = NO_NUMBER
        row["words"][0]["probability"] = NO_NUMBER
    broken["language_probability"] = NO_NUMBER
    yield "no-numbers", broken


def check_times(times):
    for start, end in times:
        assert start < end, (start, end)
    for before, after in zip(times, times[1:]):
        assert before[1] <= after[0], (before, after)


def check_lines(lines):
    assert len(lines) <= MAX_LINES, lines
    for line in lines:
        is_one_word = " " not in line.strip()
        # How wide others are depends on whom one asks.
        assert len(line) <= MAX_WIDTH or is_one_word or not line.isascii(), line


def same(found, expected, path):
    for place, (one, other) in enumerate(zip(found + "\0", expected + "\0")):
        if one != other:
            part = slice(max(0, place - 30), place + 30)
            raise AssertionError(f"{path}: {found[part]!r} instead of {expected[part]!r}")


def check_vtt(path, texts, has_words):
    cues = webvtt.read(str(path)).captions
    heard = [html.unescape(cue.raw_text) for cue in cues]
    same(" ".join(heard).replace("\n", " "), " ".join(texts), path)
    check_times([(milliseconds(cue.start), milliseconds(cue.end)) for cue in cues])
    if has_words:
        for text in heard:
            check_lines(text.split("\n"))


def milliseconds(stamp):
    hours, minutes, seconds = stamp.split(":")
    return round((int(hours) * 60 + int(minutes)) * 60_000 + float(seconds) * 1000)


def check_srt(path, texts):
    cues = pysrt.open(str(path), encoding="utf-8", error_handling=pysrt.ERROR_RAISE)
    heard = " ".join(cue.text.replace("\n", " ") for cue in cues)
    same(heard, " ".join(texts).replace("-->", "->"), path)
    check_times([(cue.start.ordinal, cue.end.ordinal) for cue in cues])
    assert [cue.index for cue in cues] == list(range(1, len(cues) + 1))


def check_rows(path, case, segments):
    rows = [json.loads(line) for line in path.read_text().split("\n")[:-1]]
    assert len(rows) == len(segments)
    for row in rows:
        assert all(key == key.lower() for key in row), "a key that Hive would fold"
        assert all(key == key.lower() for word in row["words"] for key in word)
    if not segments:
        return
    table = f"read_json('{path}', format = 'newline_delimited')"
    found = duckdb.sql(
        f"SELECT count(*), min(guid), sum(len(words)), max(end_s) FROM {table}"
    ).fetchall()[0]
    words = sum(len(s["words"]) for s in segments)
    assert found[:3] == (len(segments), case, words), found
    if words:
        inner = f"SELECT unnest(words, recursive := true) FROM {table}"
        count = duckdb.sql(f"SELECT count(word), count(start_s) FROM ({inner})").fetchall()[0]
        assert count == (words, words), count


def check_tsv(path, segments):
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    assert rows[0] == ["start", "end", "text"]
    assert [row[2] for row in rows[1:]] == [one_line(s["text"]) for s in segments], path
    assert all(int(row[0]) <= int(row[1]) for row in rows[1:])


def strict_json(path):
    def refuse(name):
        raise AssertionError(f"{path}: {name} is no JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def check(folder, case, said):
    segments = said["segments"]
    texts = [text for text in (one_line(s["text"]) for s in segments) if text]
    has_words = any(s["words"] for s in segments)
    file = lambda extension: folder / f"{case}.{extension}"
    check_vtt(file("vtt"), texts, has_words)
    check_srt(file("srt"), texts)
    check_rows(file("segments.jsonl"), case, segments)
    check_tsv(file("tsv"), segments)
    whole = strict_json(file("json"))
    assert whole["text"] == "".join(s["text"] for s in whole["segments"]) == said["text"]
    assert [len(s.get("words", [])) for s in whole["segments"]] == [
        len(s["words"]) for s in segments
    ]
    podcast = strict_json(file("podcast.json"))
    assert podcast["version"] == "1.0.0"
    assert [row["body"] for row in podcast["segments"]] == texts
    lines = file("txt").read_text(encoding="utf-8").split("\n")
    assert lines[:-1] == texts and lines[-1] == ""
    # A cue a word: any reader takes it, and each marks one word at most.
    for cue in webvtt.read(str(file("followed.vtt"))).captions:
        assert cue.raw_text.count("<u>") == cue.raw_text.count("</u>") <= 1
    pysrt.open(str(file("followed.srt")), encoding="utf-8", error_handling=pysrt.ERROR_RAISE)


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        all_cases = dict(cases())
        for case, said in all_cases.items():
            (folder / f"{case}.transcript.json").write_text(json.dumps(said))
        subprocess.run([*sys.argv[1:], str(folder)], check=True)
        for case, said in all_cases.items():
            try:
                check(folder, case, said)
            except Exception:
                print(f"in the case {case}:", file=sys.stderr)
                raise
        print(f"{len(all_cases)} transcripts read back by webvtt-py, pysrt, DuckDB, json and csv")


if __name__ == "__main__":
    main()
