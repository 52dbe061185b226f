#!/usr/bin/env python3
"""Makes sounds that nobody speaks: what a transcriber must not find words in.

    make_sound.py OUT_DIR --minutes 30

writes OUT_DIR/silence.mp3, hum.mp3, white.mp3, pink.mp3 and music.mp3. The music is a chord that
changes every two seconds, an arpeggio of four notes a second, and a drum twice a second.

Needs python3 and ffmpeg; nothing from a package index.
"""

import argparse
import pathlib
import subprocess

RATE = 16000
ROOT = "(110*pow(2,floor(mod(floor(t/2)*7,12))/12))"


def sine(hertz, strength=1.0):
    return f"{strength}*sin(2*PI*{hertz}*t)"


def hum():
    """50 Hz and eleven overtones."""
    return "0.1*(" + "+".join(sine(50 * k, round(1 / k, 3)) for k in range(1, 13)) + ")"


def music():
    chord = "+".join(sine(f"{ROOT}*{interval}", 0.25) for interval in (1, 1.25, 1.5, 2))
    note = f"{ROOT}*2*(1+0.25*mod(floor(t*4),4))"
    pluck = "exp(-6*mod(t,0.25))*(" + "+".join(sine(f"{note}*{k}", round(1 / k, 3)) for k in (1, 2, 3)) + ")"
    drum = "exp(-18*mod(t,0.5))*sin(2*PI*60*mod(t,0.5))"
    return f"0.2*({chord})+0.1*{pluck}+0.3*{drum}"


def source(kind, options):
    """A source of ffmpeg's."""
    seconds = options.minutes * 60
    noise = f"r={RATE}:d={seconds}:a={options.noise}:seed={options.seed}"
    return {
        "silence": f"anullsrc=r={RATE}:cl=mono:d={seconds}",
        "white": f"anoisesrc=c=white:{noise}",
        "pink": f"anoisesrc=c=pink:{noise}",
        "hum": f"aevalsrc='{hum()}':s={RATE}:d={seconds}",
        "music": f"aevalsrc='{music()}':s={RATE}:d={seconds}",
    }[kind]


KINDS = ("silence", "hum", "white", "pink", "music")


def main(arguments=None):
    parser = argparse.ArgumentParser(description="make sounds that nobody speaks")
    parser.add_argument("out", type=pathlib.Path, help="folder to write to")
    parser.add_argument("--minutes", type=float, default=30, help="length of each")
    parser.add_argument("--kind", choices=KINDS, action="append", help="only this one; may be repeated")
    parser.add_argument("--noise", type=float, default=0.1, help="amplitude of the noises, 0 to 1")
    parser.add_argument("--seed", type=int, default=7, help="of the noises")
    parser.add_argument("--format", default="mp3", help="file extension that ffmpeg knows: mp3, m4a, ogg, flac, wav")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    for kind in options.kind or KINDS:
        path = options.out / f"{kind}.{options.format}"
        command = ["ffmpeg", "-y", "-loglevel", "error", "-f", "lavfi", "-i", source(kind, options)]
        command += ["-fflags", "+bitexact", "-flags:a", "+bitexact", str(path)]
        subprocess.run(command, check=True)
        print(path)


if __name__ == "__main__":
    main()
