#!/usr/bin/env python3
"""Writes a podcast feed of the usual make: about 3.4 KB an item, most of it show notes in CDATA.

    make_feed.py ITEMS [BYTES_OF_NOTES] > feed.xml

The same number gives the same bytes in every run."""

import random
import sys

WORDS = (
    "this week we talk to the author about how a small town found its way back after the mill closed and what "
    "it means for the rest of us who live by the river where prices rise and nobody seems to know why it happens"
).split()

HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<rss version="2.0" xmlns:itunes="http://www.itunes.com/dtds/podcast-1.0.dtd" xmlns:content="http://purl.org/rss/1.0/modules/content/"
  xmlns:atom="http://www.w3.org/2005/Atom" xmlns:podcast="https://podcastindex.org/namespace/1.0">
<channel><title>The Long Show</title><link>https://example.com/</link><language>en</language>
<atom:link href="https://example.com/feed" rel="self" type="application/rss+xml"/>
<itunes:author>Example</itunes:author><itunes:category text="News"/><podcast:guid>917393e3-1b1e-5cef-ace4-edaa54e1f810</podcast:guid>
"""


def sentence(rng, length):
    return " ".join(rng.choice(WORDS) for _ in range(length))


def notes(rng, size):
    parts = []
    while sum(map(len, parts)) < size:
        parts.append(f'<p>{sentence(rng, 30).capitalize()} &amp; more. <a href="https://example.com/{rng.randrange(9999)}">Read on</a></p>\n')
    return "".join(parts)


def item(number, rng, size):
    text = notes(rng, size)
    return f"""<item><title>Episode {number}: {sentence(rng, 6)} &amp; you</title><link>https://example.com/{number}</link>
<description><![CDATA[{text}]]></description><content:encoded><![CDATA[{text}]]></content:encoded>
<itunes:title>{sentence(rng, 6)}</itunes:title><itunes:author>Example</itunes:author><itunes:subtitle>{sentence(rng, 12)}</itunes:subtitle>
<itunes:summary>{sentence(rng, 20)}</itunes:summary><itunes:duration>00:{number % 60:02}:30</itunes:duration><itunes:explicit>false</itunes:explicit>
<itunes:episode>{number}</itunes:episode><itunes:episodeType>full</itunes:episodeType><itunes:image href="https://example.com/{number}.jpg"/>
<guid isPermaLink="false">urn:uuid:{rng.getrandbits(128):032x}</guid><pubDate>Mon, 0{1 + number % 9} Mar 20{10 + number % 16} 05:00:00 +0000</pubDate>
<enclosure url="https://dts.podtrac.com/redirect.mp3/media.example.com/{number}.mp3?token={rng.getrandbits(64):016x}&amp;x=1" length="{rng.randrange(10**7, 10**8)}" type="audio/mpeg"/></item>
"""


def main():
    rng = random.Random(4)
    size = int(sys.argv[2]) if len(sys.argv) > 2 else 1150
    write = sys.stdout.write
    write(HEAD)
    for number in range(int(sys.argv[1])):
        write(item(number, rng, size))
    write("</channel></rss>\n")


main()
