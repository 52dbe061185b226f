//! The decoding loop.

use std::collections::VecDeque;
use std::io;

use symphonia::core::errors::Error as SymphoniaError;
use symphonia::core::formats::FormatReader;
use symphonia::core::packet::Packet;

use super::mpeg::Verdict;
use super::open::{Opened, ReadFailure, open};
use super::track::AudioTrack;
use crate::transcribe::source::MediaBytes;

/// Decoding failed for good.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The file could not be read; another attempt may succeed.
    #[error("cannot read the media file: {0}")]
    Read(#[source] io::Error),
    /// The file was read, and there is no audio in it that can be decoded.
    #[error("cannot decode the media file: {0}")]
    Undecodable(String),
}

/// What a media file turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaFormat {
    /// Container: `mp3`, `isomp4`, `ogg`, `flac`, `wave`, ...
    pub container: String,
    /// Codec: `mp3`, `aac`, `vorbis`, `pcm_s16le`, ...
    pub codec: String,
}

/// A run of samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PcmBlock<'a> {
    /// Samples per second; may change from block to block in a spliced file.
    pub rate: u32,
    /// Mono, the mean of the channels, nominally -1 to 1, always finite, never empty.
    pub samples: &'a [f32],
}

/// Pulls mono PCM out of a media file, one packet (about 26 ms of MP3) at a time.
///
/// Decoding is deterministic: the same bytes give the same blocks.
pub struct PcmStream {
    format: Box<dyn FormatReader>,
    failure: ReadFailure,
    track: AudioTrack,
    media: MediaFormat,
    ready: VecDeque<Step>,
    interleaved: Vec<f32>,
    mono: Vec<f32>,
    progress: Progress,
}

enum Step {
    Decode(Packet),
    NewDecoder,
}

#[derive(Default)]
struct Progress {
    decoded_packets: u64,
    lost_packets: u64,
    frames: u64,
    rate: u32,
    is_ended: bool,
    broke_off: Option<String>,
}

impl PcmStream {
    /// Recognises the container and prepares the default audio track's decoder.
    ///
    /// # Errors
    /// [`DecodeError::Undecodable`] where there is no container or no audio track that is known;
    /// the message says what was found.
    pub fn open(bytes: Box<dyn MediaBytes>) -> Result<Self, DecodeError> {
        let Opened {
            format,
            failure,
            edit,
        } = open(bytes)?;
        let track = AudioTrack::choose(&*format, edit).map_err(DecodeError::Undecodable)?;
        let media = MediaFormat {
            container: format.format_info().short_name.to_owned(),
            codec: track.codec_name(),
        };
        Ok(Self {
            format,
            failure,
            track,
            media,
            ready: VecDeque::new(),
            interleaved: Vec::new(),
            mono: Vec::new(),
            progress: Progress::default(),
        })
    }

    /// Container and codec.
    pub fn format(&self) -> &MediaFormat {
        &self.media
    }

    /// The next samples, or `None` at the end. Packets that cannot be decoded are skipped.
    ///
    /// # Errors
    /// [`DecodeError::Undecodable`] at the end if not one packet was decodable.
    pub fn next_block(&mut self) -> Result<Option<PcmBlock<'_>>, DecodeError> {
        while let Some(step) = self.next_step()? {
            match step {
                Step::NewDecoder => self.track.renew_decoder(),
                Step::Decode(packet) => self.decode(&packet),
            }
            if !self.mono.is_empty() {
                return Ok(Some(PcmBlock {
                    rate: self.progress.rate,
                    samples: &self.mono,
                }));
            }
        }
        if self.progress.decoded_packets == 0 {
            return Err(DecodeError::Undecodable(self.nothing_decoded()));
        }
        Ok(None)
    }

    /// What is wrong with the file; complete once [`next_block`](Self::next_block) gave `None`.
    pub fn damage(&self) -> Option<String> {
        let progress = &self.progress;
        let lost = (progress.lost_packets > 0).then(|| {
            let total = progress.lost_packets + progress.decoded_packets;
            format!("{} of {total} packets are damaged", progress.lost_packets)
        });
        let problems: Vec<String> = [lost, progress.broke_off.clone(), self.missing_end()]
            .into_iter()
            .flatten()
            .collect();
        (!problems.is_empty()).then(|| problems.join("; "))
    }

    fn next_step(&mut self) -> Result<Option<Step>, DecodeError> {
        self.mono.clear();
        while self.ready.is_empty() {
            let Some(packet) = self.read_packet()? else {
                return Ok(None);
            };
            self.admit(packet);
        }
        Ok(self.ready.pop_front())
    }

    fn admit(&mut self, packet: Packet) {
        let Some(watch) = &mut self.track.watch else {
            return self.ready.push_back(Step::Decode(packet));
        };
        let (verdict, gives_up_one) = watch.admit(packet);
        self.progress.lost_packets += u64::from(gives_up_one);
        match verdict {
            Verdict::Same(packet) => self.ready.push_back(Step::Decode(packet)),
            Verdict::Held => {}
            Verdict::Changed(packets) => {
                self.ready.push_back(Step::NewDecoder);
                self.ready.extend(packets.map(Step::Decode));
            }
        }
    }

    fn read_packet(&mut self) -> Result<Option<Packet>, DecodeError> {
        while !self.progress.is_ended {
            let packet = self.format.next_packet();
            self.failure.check()?;
            match packet {
                Ok(Some(packet)) if packet.track_id == self.track.id => return Ok(Some(packet)),
                Ok(Some(_)) => {}
                Ok(None) => self.progress.is_ended = true,
                // A chained Ogg file: another stream begins.
                Err(SymphoniaError::ResetRequired) => self.begin_next_stream(),
                Err(error) => self.break_off(&error),
            }
        }
        Ok(None)
    }

    fn begin_next_stream(&mut self) {
        match AudioTrack::choose(&*self.format, None) {
            Ok(track) => self.track = track,
            Err(problem) => {
                self.progress.is_ended = true;
                self.progress.broke_off = Some(format!("a later part is lost: {problem}"));
            }
        }
    }

    fn break_off(&mut self, error: &SymphoniaError) {
        self.progress.is_ended = true;
        let is_cut =
            matches!(error, SymphoniaError::IoError(e) if e.kind() == io::ErrorKind::UnexpectedEof);
        self.progress.broke_off = Some(if is_cut {
            "the file ends in the middle of a packet".to_owned()
        } else {
            format!("the rest cannot be read: {error}")
        });
    }

    /// Leaves a packet's samples in `mono`; none where it is damaged or all delay.
    fn decode(&mut self, packet: &Packet) {
        let Ok(buffer) = self.track.decoder.decode(packet) else {
            self.progress.lost_packets += 1;
            return;
        };
        self.progress.decoded_packets += 1;
        self.progress.rate = buffer.spec().rate();
        self.progress.frames += buffer.frames() as u64;
        let channels = buffer.spec().channels().count();
        buffer.copy_to_vec_interleaved(&mut self.interleaved);
        downmix(&self.interleaved, channels, &mut self.mono);
        self.track.trim.apply(&mut self.mono);
    }

    /// Only a clear shortfall counts: some headers count delay and padding, some do not.
    fn missing_end(&self) -> Option<String> {
        let promised = self.track.promised.filter(|_| self.progress.is_ended)?;
        let rate = f64::from(self.progress.rate.max(1));
        let [found, promised] = [self.progress.frames, promised].map(|n| n as f64 / rate);
        let is_short = promised - found > (0.01 * promised).max(1.0);
        is_short.then(|| format!("the file ends at {found:.1} s of {promised:.1} s"))
    }

    fn nothing_decoded(&self) -> String {
        let MediaFormat { container, codec } = &self.media;
        let damage = self.damage().unwrap_or_else(|| "no packets".to_owned());
        format!("{container} file with {codec} audio, but {damage}")
    }
}

/// The mean of the channels. A value that is no number, which float formats can carry, is silence:
/// it would spread to every frame behind it.
fn downmix(interleaved: &[f32], channels: usize, mono: &mut Vec<f32>) {
    mono.clear();
    match channels {
        // The usual ones by themselves: a loop of known length can be computed in vectors.
        0 | 1 => mean_of::<1>(interleaved, mono),
        2 => mean_of::<2>(interleaved, mono),
        _ => {
            let scale = 1.0 / channels as f32;
            let mean = |frame: &[f32]| finite(frame.iter().sum::<f32>() * scale);
            mono.extend(interleaved.chunks_exact(channels).map(mean));
        }
    }
}

fn mean_of<const CHANNELS: usize>(interleaved: &[f32], mono: &mut Vec<f32>) {
    let scale = 1.0 / CHANNELS as f32;
    let (frames, _) = interleaved.as_chunks::<CHANNELS>();
    mono.extend(frames.iter().map(|f| finite(f.iter().sum::<f32>() * scale)));
}

#[inline(always)]
fn finite(sample: f32) -> f32 {
    if sample.is_finite() { sample } else { 0.0 }
}

impl std::fmt::Debug for PcmStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PcmStream")
            .field("media", &self.media)
            .field("frames", &self.progress.frames)
            .finish_non_exhaustive()
    }
}
