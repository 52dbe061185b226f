//! Where and with what arithmetic CTranslate2 runs.

use std::fmt;
use std::str::FromStr;

/// The version of CTranslate2 that `ct2rs` is built with, which it does not tell itself.
pub const CTRANSLATE2_VERSION: &str = "4.8.4";

/// Settings of the engine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ct2Config {
    /// Processor or graphics card.
    pub device: Device,
    /// Which graphics cards, from 0; none stands for the first.
    pub device_indices: Vec<u16>,
    /// Arithmetic.
    pub compute_type: ComputeType,
    /// Threads on the processor, of all replicas together; 0 takes as many as there are cores.
    pub threads: usize,
    /// Copies of the model that work side by side, on each card; 0 chooses.
    pub replicas: usize,
}

/// Weights up to this size are copied for each thread of the processor: so small a model gains more
/// from windows side by side than from threads within one product of matrices.
const SMALL_WEIGHTS: u64 = 100 << 20;

/// Weights up to this size are copied once on a card, so that it has work while the other copy's
/// answers are read.
const MEDIUM_WEIGHTS: u64 = 2 << 30;

/// Most copies that are chosen on the processor.
const MOST_COPIES: usize = 8;

impl Ct2Config {
    /// Threads of the processor to use, of `cores` that there are.
    pub fn threads_of(&self, cores: usize) -> usize {
        match self.threads {
            0 => cores.max(1),
            given => given,
        }
    }

    /// Copies of a model of `weights` bytes for each device, on a machine of `cores`.
    pub fn replicas_of(&self, device: Device, weights: u64, cores: usize) -> usize {
        match (self.replicas, device) {
            (0, Device::Cuda) if weights <= MEDIUM_WEIGHTS => 2,
            (0, Device::Cpu) if weights <= SMALL_WEIGHTS => self.threads_of(cores).min(MOST_COPIES),
            (0, _) => 1,
            (given, _) => given,
        }
    }
}

/// What the model runs on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Device {
    /// A graphics card if this build and this machine have one, or else the processor.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// A graphics card.
    Cuda,
}

impl Device {
    const ALL: [Self; 3] = [Self::Auto, Self::Cpu, Self::Cuda];

    /// The name that [`FromStr`] reads.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        }
    }
}

/// Arithmetic, by CTranslate2's names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ComputeType {
    /// As the weights are stored, or the nearest that the device can do.
    #[default]
    Default,
    /// The fastest of the device.
    Auto,
    /// 32-bit floats.
    Float32,
    /// 16-bit floats.
    Float16,
    /// 16-bit floats of a float's range.
    Bfloat16,
    /// 16-bit integers.
    Int16,
    /// 8-bit integers, and what the device prefers between them.
    Int8,
    /// 8-bit integers and 32-bit floats.
    Int8Float32,
    /// 8-bit integers and 16-bit floats.
    Int8Float16,
    /// 8-bit integers and bfloat16.
    Int8Bfloat16,
}

impl ComputeType {
    const ALL: [Self; 10] = [
        Self::Default,
        Self::Auto,
        Self::Float32,
        Self::Float16,
        Self::Bfloat16,
        Self::Int16,
        Self::Int8,
        Self::Int8Float32,
        Self::Int8Float16,
        Self::Int8Bfloat16,
    ];

    /// CTranslate2's name, which [`FromStr`] reads.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Auto => "auto",
            Self::Float32 => "float32",
            Self::Float16 => "float16",
            Self::Bfloat16 => "bfloat16",
            Self::Int16 => "int16",
            Self::Int8 => "int8",
            Self::Int8Float32 => "int8_float32",
            Self::Int8Float16 => "int8_float16",
            Self::Int8Bfloat16 => "int8_bfloat16",
        }
    }
}

/// A name that is none of the known ones.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is no {what}; give one of {known}")]
pub struct UnknownName {
    given: String,
    what: &'static str,
    known: String,
}

fn find<T: Copy>(
    given: &str,
    what: &'static str,
    all: &[T],
    name: fn(T) -> &'static str,
) -> Result<T, UnknownName> {
    let found = all.iter().copied().find(|&value| name(value) == given);
    found.ok_or_else(|| UnknownName {
        given: given.to_owned(),
        what,
        known: all.iter().map(|&v| name(v)).collect::<Vec<_>>().join(", "),
    })
}

impl FromStr for Device {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        find(name, "device", &Self::ALL, Self::as_str)
    }
}

impl FromStr for ComputeType {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        find(name, "compute type", &Self::ALL, Self::as_str)
    }
}

impl fmt::Display for Device {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Display for ComputeType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_bindings_in_use() {
        let lock = include_str!("../../Cargo.lock");
        let bindings = lock
            .split("[[package]]")
            .find(|p| p.contains("name = \"ct2rs\""));
        // Other bindings bundle another CTranslate2: look its version up and change both.
        assert!(bindings.unwrap().contains("version = \"0.10.3\""));
    }

    #[test]
    fn names_come_back() {
        for compute_type in ComputeType::ALL {
            assert_eq!(compute_type.to_string().parse(), Ok(compute_type));
        }
        for device in Device::ALL {
            assert_eq!(device.to_string().parse(), Ok(device));
        }
        let error = "gpu".parse::<Device>().unwrap_err().to_string();
        assert_eq!(error, "\"gpu\" is no device; give one of auto, cpu, cuda");
    }
}
