//! The data types of the OCI image specification. Nothing is stored or fetched here.

pub mod change;
pub mod digest;
pub mod docker_form;
pub mod layer;
pub mod limits;
pub mod manifest;
pub mod platform;
pub mod reference;
mod zero_values;
