//! The hyperv level.
