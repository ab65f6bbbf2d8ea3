//! init identity
