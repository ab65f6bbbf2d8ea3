//! init mount
