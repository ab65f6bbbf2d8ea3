//! plan mount
