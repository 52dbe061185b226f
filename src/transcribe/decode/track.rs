//! Which track is decoded, with what, and what its header promises.

use std::sync::LazyLock;

use symphonia::core::audio::Channels;
use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::well_known::{
    CODEC_ID_AC3, CODEC_ID_EAC3, CODEC_ID_MP1, CODEC_ID_MP2, CODEC_ID_MP3, CODEC_ID_SPEEX,
    CODEC_ID_WMA,
};
use symphonia::core::codecs::audio::{
    AudioCodecId, AudioCodecParameters, AudioDecoder, AudioDecoderOptions,
};
use symphonia::core::codecs::registry::CodecRegistry;
use symphonia::core::errors::Error as SymphoniaError;
use symphonia::core::formats::{FormatReader, Track, TrackType};

use super::mp4::EditStart;
use super::mpeg::ShapeWatch;
use super::opus::{OpusDecoder, OpusHead};
use super::trim::Trim;

/// The library's decoders, and the one it lacks.
static CODECS: LazyLock<CodecRegistry> = LazyLock::new(|| {
    let mut codecs = CodecRegistry::new();
    symphonia::default::register_enabled_codecs(&mut codecs);
    codecs.register_audio_decoder::<OpusDecoder>();
    codecs
});

/// The track that is decoded, and how.
pub(super) struct AudioTrack {
    pub(super) id: u32,
    pub(super) decoder: Box<dyn AudioDecoder>,
    pub(super) trim: Trim,
    /// For MPEG audio, which may change in the middle.
    pub(super) watch: Option<ShapeWatch>,
    /// Frames that the header promises, where that is a promise and not a guess.
    pub(super) promised: Option<u64>,
    params: AudioCodecParameters,
}

impl AudioTrack {
    /// The default audio track, or else the first that has a decoder. The error says what is there
    /// instead.
    pub(super) fn choose(
        format: &dyn FormatReader,
        edit: Option<EditStart>,
    ) -> Result<Self, String> {
        let container = format.format_info().short_name;
        let default = format.default_track(TrackType::Audio);
        let mut problem = None;
        for track in default.into_iter().chain(format.tracks()) {
            match Self::try_new(track, container) {
                Some(Ok(mut chosen)) => {
                    if let Some((edit, rate)) = edit.zip(chosen.params.sample_rate) {
                        chosen.trim = Trim::of_beginning(edit.samples(rate));
                    }
                    return Ok(chosen);
                }
                Some(Err(error)) => problem = problem.or(Some(error)),
                None => {}
            }
        }
        let problem = problem.unwrap_or_else(|| "no audio track".to_owned());
        Err(format!("{container} file with {problem}"))
    }

    /// `None` for a track that is no audio.
    fn try_new(track: &Track, container: &str) -> Option<Result<Self, String>> {
        let Some(CodecParameters::Audio(params)) = &track.codec_params else {
            return None;
        };
        let is_mpeg = is_mpeg(params.codec);
        let decoder = make_decoder(params).map_err(|error| refusal(params, &error));
        Some(decoder.map(|decoder| Self {
            id: track.id,
            decoder,
            trim: beginning(track, params),
            watch: is_mpeg.then(ShapeWatch::default),
            promised: promised(track, container),
            params: params.clone(),
        }))
    }

    /// The codec, for people.
    pub(super) fn codec_name(&self) -> String {
        codec_name(self.params.codec)
    }

    /// Begins the same codec anew, for frames of another rate or channel count.
    pub(super) fn renew_decoder(&mut self) {
        // It worked for this codec before; if not, the old one goes on and refuses the packets.
        if let Ok(decoder) = make_decoder(&self.params) {
            self.decoder = decoder;
        }
    }
}

/// What the track itself says about samples that are no audio.
fn beginning(track: &Track, params: &AudioCodecParameters) -> Trim {
    if is_mpeg(params.codec) {
        return Trim::of_mpeg(track);
    }
    let header = params.extra_data.as_deref();
    match header.and_then(OpusHead::parse) {
        Some(head) => Trim::of_beginning(head.pre_skip.into()),
        None => Trim::default(),
    }
}

fn is_mpeg(codec: AudioCodecId) -> bool {
    matches!(codec, CODEC_ID_MP1 | CODEC_ID_MP2 | CODEC_ID_MP3)
}

fn make_decoder(params: &AudioCodecParameters) -> Result<Box<dyn AudioDecoder>, SymphoniaError> {
    // For MPEG the demuxer marks all that lies behind the declared or guessed length as padding,
    // so that trimming it here would drop the parts joined on; see `trim`.
    let options = AudioDecoderOptions::default().gapless(!is_mpeg(params.codec));
    CODECS.make_audio_decoder(params, &options)
}

fn promised(track: &Track, container: &str) -> Option<u64> {
    let is_exact = match container {
        "flac" | "wave" | "aiff" => true,
        // Only the encoder's tag counts frames; without it the number is a guess.
        "mp3" => track.delay.is_some(),
        _ => false,
    };
    track.num_frames.filter(|_| is_exact)
}

/// What cannot be decoded, and with how many channels: surround is what decoders lack most often.
fn refusal(params: &AudioCodecParameters, error: &SymphoniaError) -> String {
    let name = codec_name(params.codec);
    match params.channels.as_ref().map(Channels::count) {
        Some(channels @ 3..) => format!("{name} audio of {channels} channels: {error}"),
        _ => format!("{name} audio: {error}"),
    }
}

fn codec_name(codec: AudioCodecId) -> String {
    if let Some(known) = CODECS.get_audio_decoder(codec) {
        return known.codec.info.short_name.to_owned();
    }
    match codec {
        CODEC_ID_AC3 => "ac3".to_owned(),
        CODEC_ID_EAC3 => "eac3".to_owned(),
        CODEC_ID_SPEEX => "speex".to_owned(),
        CODEC_ID_WMA => "wma".to_owned(),
        other => format!("unknown ({other})"),
    }
}
