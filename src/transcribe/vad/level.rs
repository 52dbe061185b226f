//! Sound at the level the network hears best.

use super::SpeechDetector;

/// Mean power the sound is brought to. So quiet, the network still finds speech that is 5 dB above
/// noise, and no longer takes noise, hum or drums for speech, as it does from -20 dB on.
const TARGET: f32 = 1e-4 * 0.4;
/// What is quieter by more is left quiet: a power ratio of 20 dB.
const MAX_POWER_GAIN: f32 = 100.0;
/// Share of a new frame in the mean: a memory of 2 s.
const SHARE: f32 = SpeechDetector::FRAME as f32 / (2.0 * 16_000.0);

/// Brings sound to one level, following its mean power.
#[derive(Debug)]
pub(super) struct Leveller {
    power: f32,
}

impl Leveller {
    pub(super) fn new() -> Self {
        Self { power: 0.0 }
    }

    /// Scales the next frame.
    pub(super) fn apply(&mut self, frame: &mut [f32; SpeechDetector::FRAME]) {
        let squares: f32 = frame.iter().map(|sample| sample * sample).sum();
        let now = squares / SpeechDetector::FRAME as f32;
        self.power += SHARE * (now - self.power);
        // A sudden sound counts at once, or its beginning would be far too loud.
        let gain = (TARGET / self.power.max(now * 0.1))
            .min(MAX_POWER_GAIN)
            .sqrt();
        for sample in frame {
            // Peaks of a beginning: the network takes nothing beyond full scale.
            *sample = (*sample * gain).clamp(-1.0, 1.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The level of the last of many frames of a square wave.
    fn levelled(amplitude: f32) -> f32 {
        let mut leveller = Leveller::new();
        let mut frame = [0.0; SpeechDetector::FRAME];
        for _ in 0..1000 {
            frame = std::array::from_fn(|n| if n % 8 < 4 { amplitude } else { -amplitude });
            leveller.apply(&mut frame);
        }
        frame[0]
    }

    #[test]
    fn loud_and_quiet_sound_come_to_the_same_level() {
        for amplitude in [1.0, 0.1, 0.01, 0.001] {
            let found = levelled(amplitude);
            assert!((found - TARGET.sqrt()).abs() < 1e-4, "{amplitude}: {found}");
        }
    }

    #[test]
    fn what_is_hardly_there_is_not_made_loud() {
        assert_eq!(levelled(0.0), 0.0);
        assert!(levelled(1e-5) < 1.1e-4);
    }
}
