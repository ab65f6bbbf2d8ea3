//! init lsm
