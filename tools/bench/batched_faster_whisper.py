#!/usr/bin/env python3
"""Transcribes a file with faster-whisper's batched pipeline and prints one JSON line: how long it took
from the call to the last segment, its models being loaded, and how much was decoded.

Needs faster-whisper 1.2 from a package index.
"""

import argparse
import json
import time

from faster_whisper import BatchedInferencePipeline, WhisperModel
from faster_whisper.vad import get_vad_model


def main():
    parser = argparse.ArgumentParser(description="transcribe a file with faster-whisper")
    parser.add_argument("model")
    parser.add_argument("audio")
    parser.add_argument("--beam", type=int, default=5, help="hypotheses kept; 1 is greedy")
    parser.add_argument("--batch", type=int, default=8, help="windows decoded at a time")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--language", default="en")
    parser.add_argument("--compute-type", default="int8")
    parser.add_argument("--words", action="store_true", help="with word times")
    options = parser.parse_args()

    model = WhisperModel(options.model, device="cpu", compute_type=options.compute_type, cpu_threads=options.threads)
    # The first call would load it.
    get_vad_model()
    begun = time.perf_counter()
    found, info = BatchedInferencePipeline(model).transcribe(
        options.audio,
        language=options.language,
        beam_size=options.beam,
        batch_size=options.batch,
        word_timestamps=options.words,
    )
    segments = list(found)
    elapsed = time.perf_counter() - begun
    figures = {
        "elapsed_s": elapsed,
        "audio_s": info.duration,
        "windows": len({segment.seek for segment in segments}),
        "tokens": sum(len(segment.tokens) for segment in segments),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
