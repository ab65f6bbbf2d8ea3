//! init mask
