//! init device
