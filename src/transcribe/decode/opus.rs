//! Opus, by the reference library: symphonia demuxes it and has no decoder for it.
//!
//! What to drop of the beginning (the pre-skip) stands in the identification header and is left to
//! `trim`, since it may be longer than a packet; what to drop of the end comes with the last packet.

use std::sync::Mutex;

use opusic_c::{Channels as OpusChannels, Decoder, ErrorCode, SampleRate};
use symphonia::core::audio::{
    AsGenericAudioBufferRef, AudioBuffer, AudioMut, AudioSpec, Channels, GenericAudioBufferRef,
};
use symphonia::core::codecs::CodecInfo;
use symphonia::core::codecs::audio::well_known::CODEC_ID_OPUS;
use symphonia::core::codecs::audio::{
    AudioCodecParameters, AudioDecoder, AudioDecoderOptions, FinalizeResult,
};
use symphonia::core::codecs::registry::{RegisterableAudioDecoder, SupportedAudioCodec};
use symphonia::core::errors::{Error, Result, decode_error, unsupported_error};
use symphonia::core::packet::PacketRef;

/// Opus has one clock, whatever the rate of the recording was.
const RATE: u32 = 48_000;

/// Samples a channel in the longest packet: 120 ms.
const LONGEST_PACKET: usize = 5760;

/// The identification header (RFC 7845, section 5.1), as far as it is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OpusHead {
    /// Samples to drop from the beginning.
    pub(super) pre_skip: u16,
    /// Gain in 1/256 dB.
    gain: i16,
    channels: u8,
}

impl OpusHead {
    /// Reads a header with its `OpusHead` in front. Ogg and Matroska write version 1 and
    /// little-endian numbers; MP4 version 0 and big-endian ones.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let body = bytes.strip_prefix(b"OpusHead")?;
        let &[version, channels, p0, p1, _, _, _, _, g0, g1, _family, ..] = body else {
            return None;
        };
        let is_mp4 = version == 0;
        let number = |bytes: [u8; 2]| match is_mp4 {
            true => u16::from_be_bytes(bytes),
            false => u16::from_le_bytes(bytes),
        };
        Some(Self {
            pre_skip: number([p0, p1]),
            gain: number([g0, g1]).cast_signed(),
            channels,
        })
    }

    /// A stream without a header, as some writers of Matroska leave it.
    fn plain(channels: usize) -> Self {
        Self {
            pre_skip: 0,
            gain: 0,
            channels: u8::try_from(channels).unwrap_or(u8::MAX),
        }
    }

    /// One stream of mono or stereo; surround is several streams in one packet, which the library's
    /// simple decoder does not take apart.
    fn decoder(self) -> Result<Decoder> {
        let channels = match self.channels {
            1 => OpusChannels::Mono,
            2 => OpusChannels::Stereo,
            _ => return unsupported_error("opus: neither mono nor stereo"),
        };
        let mut decoder = Decoder::new(channels, SampleRate::Hz48000).map_err(failed)?;
        decoder.set_gain(self.gain.into()).map_err(failed)?;
        Ok(decoder)
    }
}

fn failed(error: ErrorCode) -> Error {
    Error::DecodeError(error.message())
}

/// A decoder of one stream.
pub(super) struct OpusDecoder {
    params: AudioCodecParameters,
    /// Never contended: it only makes the library's handle `Sync`, which the trait asks for.
    decoder: Mutex<Decoder>,
    interleaved: Vec<f32>,
    buffer: AudioBuffer<f32>,
    channels: usize,
    trims_end: bool,
}

impl OpusDecoder {
    fn try_new(params: &AudioCodecParameters, options: &AudioDecoderOptions) -> Result<Self> {
        let head = match &params.extra_data {
            Some(header) => OpusHead::parse(header),
            None => params
                .channels
                .as_ref()
                .map(|channels| OpusHead::plain(channels.count())),
        };
        let Some(head) = head else {
            return unsupported_error("opus: the header cannot be understood");
        };
        let decoder = head.decoder()?;
        let channels = usize::from(head.channels);
        let spec = AudioSpec::new(RATE, Channels::Discrete(head.channels.into()));
        Ok(Self {
            params: params.clone(),
            decoder: Mutex::new(decoder),
            interleaved: vec![0.0; LONGEST_PACKET * channels],
            buffer: AudioBuffer::new(spec, LONGEST_PACKET),
            channels,
            trims_end: options.gapless,
        })
    }

    /// Decodes into `interleaved`; gives the samples a channel.
    fn decode_packet(&mut self, data: &[u8]) -> Result<usize> {
        if data.is_empty() {
            // To the library an empty packet is a lost one, which it would make up.
            return decode_error("opus: an empty packet");
        }
        let decoder = self.decoder.get_mut();
        let decoder = decoder.unwrap_or_else(std::sync::PoisonError::into_inner);
        decoder
            .decode_float_to_slice(data, &mut self.interleaved, false)
            .map_err(failed)
    }
}

impl AudioDecoder for OpusDecoder {
    fn reset(&mut self) {
        let decoder = self.decoder.get_mut();
        // A reset that fails leaves the state of before, which decodes on.
        let _ = decoder
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .reset();
    }

    fn codec_info(&self) -> &CodecInfo {
        &Self::supported_codecs()[0].info
    }

    fn codec_params(&self) -> &AudioCodecParameters {
        &self.params
    }

    fn decode_ref(&mut self, packet: &PacketRef<'_>) -> Result<GenericAudioBufferRef<'_>> {
        self.buffer.clear();
        let frames = self.decode_packet(packet.data)?.min(LONGEST_PACKET);
        let surplus = match self.trims_end {
            true => usize::try_from(packet.trim_end.get()).unwrap_or(usize::MAX),
            false => 0,
        };
        let kept = frames.saturating_sub(surplus);
        self.buffer.render_uninit(Some(kept));
        let samples = &self.interleaved[..kept * self.channels];
        self.buffer.copy_from_slice_interleaved(&samples);
        Ok(self.buffer.as_generic_audio_buffer_ref())
    }

    fn finalize(&mut self) -> FinalizeResult {
        FinalizeResult::default()
    }

    fn last_decoded(&self) -> GenericAudioBufferRef<'_> {
        self.buffer.as_generic_audio_buffer_ref()
    }
}

impl RegisterableAudioDecoder for OpusDecoder {
    fn try_registry_new(
        params: &AudioCodecParameters,
        options: &AudioDecoderOptions,
    ) -> Result<Box<dyn AudioDecoder>> {
        Ok(Box::new(Self::try_new(params, options)?))
    }

    fn supported_codecs() -> &'static [SupportedAudioCodec] {
        const OPUS: SupportedAudioCodec = SupportedAudioCodec {
            id: CODEC_ID_OPUS,
            info: CodecInfo {
                short_name: "opus",
                long_name: "Opus",
                profiles: &[],
            },
        };
        &[OPUS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_of_ogg_and_one_of_mp4_say_the_same() {
        let ogg = b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\x00\xff\0";
        let mp4 = b"OpusHead\x00\x02\x01\x38\0\0\xbb\x80\xff\x00\0";
        let expected = OpusHead {
            pre_skip: 312,
            gain: -256,
            channels: 2,
        };
        assert_eq!(OpusHead::parse(ogg), Some(expected));
        assert_eq!(OpusHead::parse(mp4), Some(expected));
        assert!(expected.decoder().is_ok());
    }

    #[test]
    fn headers_that_cannot_be_followed_are_refused() {
        for channels in [0, 3, 6, 255] {
            assert!(OpusHead::plain(channels).decoder().is_err(), "{channels}");
        }
        assert_eq!(OpusHead::parse(b"OpusHead\x01\x02\0"), None);
        assert_eq!(OpusHead::parse(b"OpusTags\x01\x02\0\0\0\0\0\0\0\0\0"), None);
    }
}
