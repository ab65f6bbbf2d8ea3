//! The data types of the OCI image specification. Nothing is stored or fetched here.

pub mod change;
pub mod digest;
pub mod docker_form;
pub mod duration;
pub mod layer;
pub mod limits;
pub mod manifest;
pub mod parts;
pub mod platform;
pub mod reference;
pub mod secret;
mod zero_values;
