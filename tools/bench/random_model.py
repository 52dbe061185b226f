#!/usr/bin/env python3
"""Writes a Whisper model of a real size with random weights, to measure speed.

    random_model.py OUT_DIR [--size base] [--quantization int8]

What it writes down is noise; what it costs is what the real one costs at its dearest. Random weights
know no end, and the bias of the answer forbids all but text, so every window is decoded to the
greatest length in every program.

Word times come from attention, and those of random weights would have stretches without words, which
podrun decodes again. So one head of the last decoder layer looks where a reader of constant speed would
be: some dimensions of encoder and decoder hold nothing but the time, and no layer writes to them.

Needs numpy and ctranslate2 from a package index.
"""

import argparse
import json
import pathlib
import shutil

import numpy
from ctranslate2.specs import whisper_spec

FIXTURE = pathlib.Path(__file__).resolve().parents[2] / "cli/assets/whisper-fixture"
# Width, layers of encoder and of decoder, heads.
SIZES = {"tiny": (384, 4, 6), "base": (512, 6, 8), "small": (768, 12, 12)}
MELS = 80
TEXT_TOKENS = 50257
ENCODER_POSITIONS, DECODER_POSITIONS = 1500, 448
# CTranslate2 decodes at most half of the decoder's positions, behind the four tokens of a prompt.
TOKENS_A_WINDOW, PROMPT = DECODER_POSITIONS // 2, 4
CLOCK = 64
# Encoder positions: the longest and the shortest period by which the clock tells the time.
PERIODS = (6000, 60)
# Sharp enough that the attention is a few words wide.
SHARPNESS = 3.0
NEVER = -1e4


class Random:
    """Weights as untrained models have them."""

    def __init__(self, seed):
        self.generator = numpy.random.default_rng(seed)

    def array(self, *shape):
        return self.generator.normal(0.0, 0.02, shape).astype(numpy.float32)

    def linear(self, spec, outputs, *inputs):
        spec.weight, spec.bias = self.array(outputs, *inputs), self.array(outputs)

    def into_stream(self, spec, width, *inputs):
        """A layer whose result is added to the stream, beside the clock."""
        self.linear(spec, width, *inputs)
        spec.weight[-CLOCK:] = 0.0
        spec.bias[-CLOCK:] = 0.0

    def feed_forward(self, spec, width):
        norm(spec.layer_norm, width)
        self.linear(spec.linear_0, 4 * width, width)
        self.into_stream(spec.linear_1, width, 4 * width)

    def self_attention(self, spec, width):
        norm(spec.layer_norm, width)
        self.linear(spec.linear[0], 3 * width, width)
        self.into_stream(spec.linear[1], width, width)

    def attention(self, spec, width):
        norm(spec.layer_norm, width)
        self.linear(spec.linear[0], width, width)
        self.linear(spec.linear[1], 2 * width, width)
        self.into_stream(spec.linear[2], width, width)


def norm(spec, width):
    spec.gamma = numpy.ones(width, dtype=numpy.float32)
    spec.beta = numpy.zeros(width, dtype=numpy.float32)


def clock(times, width):
    """Positions that hold the time, in encoder positions, in their last dimensions."""
    speeds = 2 * numpy.pi / numpy.geomspace(*PERIODS, CLOCK // 2)
    angles = numpy.asarray(times)[:, None] * speeds
    positions = numpy.zeros((len(times), width), dtype=numpy.float32)
    positions[:, -CLOCK:] = numpy.concatenate([numpy.cos(angles), numpy.sin(angles)], axis=1)
    return positions


def reads_along(spec, head_width):
    """Makes the first head of an attention compare clocks alone."""
    query, key = spec.linear[0], spec.linear[1]
    for layer in (query, key):
        layer.weight[:head_width] = 0.0
        layer.bias[:head_width] = 0.0
        diagonal = numpy.arange(min(CLOCK, head_width))
        layer.weight[diagonal, layer.weight.shape[1] - CLOCK + diagonal] = SHARPNESS


def fill_encoder(spec, width, random):
    random.linear(spec.conv1, width, MELS, 3)
    random.into_stream(spec.conv2, width, width, 3)
    spec.position_encodings.encodings = clock(range(ENCODER_POSITIONS), width)
    norm(spec.layer_norm, width)
    for layer in spec.layer:
        random.self_attention(layer.self_attention, width)
        random.feed_forward(layer.ffn, width)


def fill_decoder(spec, width, heads, tokens, random):
    spec.embeddings.weight = random.array(tokens, width)
    spec.embeddings.weight[:, -CLOCK:] = 0.0
    spec.projection.weight = spec.embeddings.weight
    spec.projection.bias = numpy.zeros(tokens, dtype=numpy.float32)
    # The last text token is the empty one, of which only the name matters.
    spec.projection.bias[TEXT_TOKENS - 1 :] = NEVER
    read = numpy.arange(DECODER_POSITIONS) - PROMPT
    spec.position_encodings.encodings = clock(read * ENCODER_POSITIONS / TOKENS_A_WINDOW, width)
    norm(spec.layer_norm, width)
    for layer in spec.layer:
        random.self_attention(layer.self_attention, width)
        random.attention(layer.attention, width)
        random.feed_forward(layer.ffn, width)
    reads_along(spec.layer[-1].attention, width // heads)


def tokenizer_and_names():
    """Words that are a token each, and the fixture's special tokens behind them."""
    tokenizer = json.loads((FIXTURE / "tokenizer.json").read_text(encoding="utf-8"))
    # The empty token is how CTranslate2 tells a model of many languages.
    words = ["!"] + [f"Ġw{number}" for number in range(1, TEXT_TOKENS - 1)] + [""]
    for number, token in enumerate(tokenizer["added_tokens"]):
        token["id"] = len(words) + number
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer["model"] = {"type": "WordLevel", "vocab": vocabulary, "unk_token": "!"}
    return tokenizer, words + [token["content"] for token in tokenizer["added_tokens"]]


def set_config(config, names, layers):
    end, task = names.index("<|endoftext|>"), names.index("<|translate|>")
    config.suppress_ids = []
    config.suppress_ids_begin = [end]
    config.lang_ids = list(range(end + 2, task))
    config.alignment_heads = [[layers - 1, 0]]


def write(folder, size, quantization, seed):
    width, layers, heads = SIZES[size]
    tokenizer, names = tokenizer_and_names()
    random = Random(seed)
    spec = whisper_spec.WhisperSpec(layers, heads, layers, heads)
    fill_encoder(spec.encoder, width, random)
    fill_decoder(spec.decoder, width, heads, len(names), random)
    spec.register_vocabulary(names)
    set_config(spec.config, names, layers)
    spec.validate()
    spec.optimize(quantization=quantization)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")
    shutil.copyfile(FIXTURE / "preprocessor_config.json", folder / "preprocessor_config.json")
    spec.save(str(folder))


def main():
    parser = argparse.ArgumentParser(description="write a Whisper model of random weights")
    parser.add_argument("out", type=pathlib.Path, help="folder to write to")
    parser.add_argument("--size", choices=SIZES, default="base")
    parser.add_argument("--quantization", default="int8", help="of the weights: int8, float32 and the like")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    write(options.out, options.size, options.quantization, options.seed)


if __name__ == "__main__":
    main()
