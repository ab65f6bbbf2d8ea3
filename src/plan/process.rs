//! plan process
