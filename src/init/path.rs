//! init path
