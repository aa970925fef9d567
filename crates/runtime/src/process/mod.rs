//! The process level.
