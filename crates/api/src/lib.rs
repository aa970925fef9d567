//! The Docker Engine API as data: what travels between a client and the daemon. Used by both, so that they cannot
//! disagree. No HTTP and no I/O here.
//!
//! Most models are `bollard-stubs`' (generated from Docker's own OpenAPI file); they are re-exported as [`models`].
//! What those lack, or model too strictly for input that people write by hand, has a file here: [`ApiVersion`] and
//! its gates, [`Filters`], the [`stdcopy`] framing of attached output, [`Progress`] lines, and the fields under our
//! own key `Cofferdam`.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod cofferdam;
mod duration;
mod error;
mod filters;
mod progress;
mod rlimits;
pub mod size;
pub mod stdcopy;
mod system;
mod version;

pub use bollard_stubs::models;
pub use cofferdam::{
    ComputeProcess, ContainerExtension, FRONT_HEADER, InfoExtension, Owner, PolicyAnswer, PolicyOrigin,
    PolicyReport, TemplateSummary,
};
pub use cofferdam_model::ComputeType;
pub use duration::{InvalidDuration, go_duration, human_duration, parse_duration};
pub use error::ErrorBody;
pub use filters::{Filters, InvalidFilters};
pub use progress::{Progress, ProgressDetail, ProgressError};
pub use rlimits::{RLIMITS, ulimit};
pub use system::{Info, Version};
pub use version::{ApiVersion, InvalidVersion};

/// Content type of a raw attached stream (a TTY's).
pub const RAW_STREAM: &str = "application/vnd.docker.raw-stream";
/// Content type of an attached stream in [`stdcopy`] frames, since API 1.42.
pub const MULTIPLEXED_STREAM: &str = "application/vnd.docker.multiplexed-stream";

/// Entry points for the fuzzer: they must neither panic nor take memory out of proportion to their input.
pub mod fuzz {
    /// Feeds arbitrary text to the filter parser.
    pub fn fuzz_filters(data: &[u8]) {
        if let Ok(text) = std::str::from_utf8(data) {
            let _ = crate::Filters::parse(text);
        }
    }

    /// Feeds arbitrary bytes to the stdcopy decoder, in two pieces.
    pub fn fuzz_stdcopy(data: &[u8]) {
        let mut decoder = crate::stdcopy::Decoder::default();
        let (first, second) = data.split_at(data.len() / 2);
        for piece in [first, second] {
            decoder.push(piece);
            while let Ok(Some(_)) = decoder.next_frame() {}
        }
    }

    /// Feeds arbitrary text to the version parser.
    pub fn fuzz_version(data: &[u8]) {
        if let Ok(text) = std::str::from_utf8(data) {
            let _ = text.parse::<crate::ApiVersion>();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::stdcopy::{Decoder, Stream, encode};

    proptest! {
        #[test]
        fn no_input_upsets_the_parsers(data in proptest::collection::vec(any::<u8>(), 0..256)) {
            crate::fuzz::fuzz_filters(&data);
            crate::fuzz::fuzz_stdcopy(&data);
            crate::fuzz::fuzz_version(&data);
        }

        #[test]
        fn framed_output_arrives_whole(
            payload in proptest::collection::vec(any::<u8>(), 0..64),
            cuts in proptest::collection::vec(1usize..9, 1..64),
        ) {
            let wire = encode(Stream::Stdout, &payload);
            let (mut decoder, mut seen, mut rest) = (Decoder::default(), Vec::new(), wire.as_slice());
            for cut in cuts.iter().cycle() {
                let (piece, left) = rest.split_at((*cut).min(rest.len()));
                decoder.push(piece);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    seen.extend(frame.payload);
                }
                rest = left;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(seen, payload);
        }
    }
}
