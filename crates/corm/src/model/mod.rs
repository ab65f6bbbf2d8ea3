//! What images are made of, as the OCI image specification names it. Nothing is stored or fetched here.

pub mod change;
pub mod digest;
pub mod layer;
pub mod limits;
pub mod manifest;
pub mod platform;
pub mod reference;
