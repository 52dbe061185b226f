//! Sounds that nobody speaks: noise, hum and music, mono at 16 kHz, the same for the same seed.

use std::f64::consts::TAU;

const RATE: usize = 16_000;

/// Numbers without pattern, the same for the same seed.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// 0 to 1.
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Normally distributed, of variance 1.
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.unit().max(1e-12).ln()).sqrt();
        radius * (TAU * self.unit()).cos()
    }

    fn one_of<T: Copy>(&mut self, values: &[T]) -> T {
        values[(self.unit() * values.len() as f64) as usize]
    }
}

/// A sound of which only the shape counts.
pub(crate) type Sound = Vec<f32>;

/// Makes so many samples from a seed.
pub(crate) type Maker = fn(usize, u64) -> Sound;

/// All of them, by name.
pub(crate) const KINDS: [(&str, Maker); 9] = [
    ("silence", |samples, _| vec![0.0; samples]),
    ("white", white),
    ("pink", pink),
    ("hum", hum),
    ("chords", chords),
    ("arpeggio", arpeggio),
    ("drums", drums),
    ("band", band),
    ("strings", strings),
];

/// The same power at every frequency.
pub(crate) fn white(samples: usize, seed: u64) -> Sound {
    let mut random = Random::new(seed);
    (0..samples).map(|_| random.normal() as f32).collect()
}

/// The same power in every octave: white noise through poles a factor of three apart.
pub(crate) fn pink(samples: usize, seed: u64) -> Sound {
    let mut random = Random::new(seed);
    let mut states = [0.0_f64; 6];
    (0..samples)
        .map(|_| {
            let white = random.normal();
            let mut sum = 0.0;
            for (index, state) in states.iter_mut().enumerate() {
                let corner = 0.8 / 3_f64.powi(index as i32);
                *state += corner * (white - *state);
                sum += *state / corner.sqrt();
            }
            sum as f32
        })
        .collect()
}

/// Mains hum of 50 Hz with eleven overtones.
pub(crate) fn hum(samples: usize, _: u64) -> Sound {
    let mut sound = vec![0.0; samples];
    play(&mut sound, 0, samples, 50.0, 12, |_| 1.0);
    sound
}

/// A chord that changes every two seconds.
pub(crate) fn chords(samples: usize, seed: u64) -> Sound {
    let mut random = Random::new(seed);
    let mut sound = vec![0.0; samples];
    for start in (0..samples).step_by(2 * RATE) {
        let root = random.one_of(&[110.0, 130.8, 146.8, 164.8]);
        for interval in [1.0, 1.25, 1.5, 2.0] {
            play(&mut sound, start, 2 * RATE, root * interval, 1, |_| 0.25);
        }
    }
    sound
}

/// A plucked string, five notes a second.
pub(crate) fn arpeggio(samples: usize, seed: u64) -> Sound {
    let mut random = Random::new(seed);
    let mut sound = vec![0.0; samples];
    for start in (0..samples).step_by(RATE / 5) {
        let semitones = random.one_of(&[0, 3, 5, 7, 10, 12, 15, 17]);
        let hertz = 196.0 * 2_f64.powf(f64::from(semitones) / 12.0);
        let pluck = |t: f64| (200.0 * t).min(1.0) * (-5.0 * t).exp();
        play(&mut sound, start, RATE, hertz, 6, pluck);
    }
    sound
}

/// A bass drum, a snare and a hi-hat at 120 beats a minute.
pub(crate) fn drums(samples: usize, seed: u64) -> Sound {
    let mut random = Random::new(seed);
    let mut sound = vec![0.0; samples];
    for (eighth, start) in (0..samples).step_by(RATE / 4).enumerate() {
        for (index, sample) in sound[start..].iter_mut().take(RATE / 5).enumerate() {
            let t = index as f64 / RATE as f64;
            let bass = (TAU * (50.0 * t + 3.0 * (1.0 - (-40.0 * t).exp()))).sin();
            *sample += 0.2 * ((-80.0 * t).exp() * random.normal()) as f32;
            *sample += match eighth % 4 {
                0 => ((-18.0 * t).exp() * bass) as f32,
                2 => 0.6 * ((-25.0 * t).exp() * random.normal()) as f32,
                _ => 0.0,
            };
        }
    }
    sound
}

/// Chords, arpeggio and drums together.
pub(crate) fn band(samples: usize, seed: u64) -> Sound {
    let parts = [
        at_level(chords(samples, seed), 0.4),
        at_level(arpeggio(samples, seed + 1), 0.25),
        at_level(drums(samples, seed + 2), 0.15),
    ];
    (0..samples)
        .map(|n| parts.iter().map(|part| part[n]).sum())
        .collect()
}

/// Triads with vibrato and many overtones.
pub(crate) fn strings(samples: usize, seed: u64) -> Sound {
    let mut random = Random::new(seed);
    let mut sound = vec![0.0; samples];
    for start in (0..samples).step_by(3 * RATE / 2) {
        let root = 220.0 * 2_f64.powf((random.unit() * 12.0).floor() / 12.0);
        for interval in [1.0, 1.26, 1.498] {
            let bow = |t: f64| (20.0 * t).min(1.0);
            play_with_vibrato(&mut sound, start, 3 * RATE / 2, root * interval, bow);
        }
    }
    sound
}

/// Adds a note whose `k`th partial has a `k`th of the strength.
fn play(
    sound: &mut [f32],
    start: usize,
    samples: usize,
    hertz: f64,
    partials: u32,
    envelope: impl Fn(f64) -> f64,
) {
    for (index, sample) in sound[start..].iter_mut().take(samples).enumerate() {
        let t = index as f64 / RATE as f64;
        *sample += (envelope(t) * harmonics(hertz * t, partials)) as f32;
    }
}

fn play_with_vibrato(
    sound: &mut [f32],
    start: usize,
    samples: usize,
    hertz: f64,
    envelope: impl Fn(f64) -> f64,
) {
    for (index, sample) in sound[start..].iter_mut().take(samples).enumerate() {
        let t = index as f64 / RATE as f64;
        // Half a percent around the pitch, five and a half times a second.
        let cycles = hertz * (t + 0.005 / (TAU * 5.5) * (TAU * 5.5 * t).sin());
        *sample += (envelope(t) * harmonics(cycles, 8)) as f32;
    }
}

fn harmonics(cycles: f64, partials: u32) -> f64 {
    let partial = |k: u32| (TAU * (cycles * f64::from(k)).fract()).sin() / f64::from(k);
    (1..=partials).map(partial).sum()
}

/// The root of the mean square of what is not silent.
pub(crate) fn level(sound: &[f32]) -> f32 {
    let heard = sound.iter().filter(|&&sample| sample != 0.0);
    let (sum, count) = heard.fold((0.0, 0), |(sum, count), &sample| {
        (sum + f64::from(sample).powi(2), count + 1)
    });
    (sum / f64::from(count.max(1))).sqrt() as f32
}

/// The sound scaled to a level, in steps of 16 bits as a decoder gives it.
pub(crate) fn at_level(mut sound: Sound, wanted: f32) -> Sound {
    let scale = wanted / level(&sound).max(f32::MIN_POSITIVE);
    for sample in &mut sound {
        *sample = sixteen_bits(*sample * scale);
    }
    sound
}

/// `speech` with `sound` under it, so many decibels fainter.
pub(crate) fn under(speech: &[f32], sound: &[f32], decibels: f32) -> Sound {
    let scale = level(speech) / level(sound) * decibels_to_level(-decibels);
    let pairs = speech.iter().zip(sound);
    pairs
        .map(|(speech, sound)| sixteen_bits(speech + scale * sound))
        .collect()
}

/// Decibels of full scale as an amplitude.
pub(crate) fn decibels_to_level(decibels: f32) -> f32 {
    10_f32.powf(decibels / 20.0)
}

fn sixteen_bits(sample: f32) -> f32 {
    (sample * 32_768.0).round().clamp(-32_768.0, 32_767.0) / 32_768.0
}
