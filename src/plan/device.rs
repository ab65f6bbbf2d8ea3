//! plan device
