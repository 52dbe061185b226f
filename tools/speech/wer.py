#!/usr/bin/env python3
"""Word error rate of a transcript against what was spoken.

    wer.py episode-001.truth.json transcript.json [--max 0.1]

prints one JSON line and exits 1 where the rate is above --max. Either file may be a truth list as
make_speech.py writes it, a transcript with a "text", or plain text.
"""

import argparse
import json
import pathlib
import re
import sys

NOT_SPOKEN = re.compile(r"[^\w\s]")


def words(text):
    """Lower-case words without punctuation: what a listener could tell apart."""
    return NOT_SPOKEN.sub("", text.lower()).split()


def word_errors(truth, heard):
    """Fewest words to insert, delete or replace (Levenshtein 1966, one row at a time)."""
    row = list(range(len(heard) + 1))
    for spoken_count, spoken in enumerate(truth, 1):
        diagonal, row[0] = row[0], spoken_count
        for heard_count, word in enumerate(heard, 1):
            replaced = diagonal + (spoken != word)
            diagonal = row[heard_count]
            row[heard_count] = min(diagonal + 1, row[heard_count - 1] + 1, replaced)
    return row[-1]


def word_error_rate(truth, heard):
    """Errors per spoken word; above 1 where more is heard than was said."""
    truth, heard = words(truth), words(heard)
    return word_errors(truth, heard) / max(1, len(truth))


def text_of(path):
    content = path.read_text(encoding="utf-8")
    if path.suffix != ".json":
        return content
    document = json.loads(content)
    if isinstance(document, list):
        return " ".join(line["text"] for line in document)
    return document["text"]


def main():
    parser = argparse.ArgumentParser(description="word error rate of a transcript")
    parser.add_argument("truth", type=pathlib.Path)
    parser.add_argument("heard", type=pathlib.Path)
    parser.add_argument("--max", type=float, help="exit 1 above this rate")
    options = parser.parse_args()
    truth, heard = text_of(options.truth), text_of(options.heard)
    rate = word_error_rate(truth, heard)
    print(json.dumps({"word_error_rate": round(rate, 4), "spoken": len(words(truth)), "heard": len(words(heard))}))
    if options.max is not None and rate > options.max:
        sys.exit(1)


if __name__ == "__main__":
    main()
