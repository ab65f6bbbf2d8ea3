//! init console
