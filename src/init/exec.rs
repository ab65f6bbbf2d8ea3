//! init exec
