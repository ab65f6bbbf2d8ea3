//! What a stage has made: layers and a configuration.

use anyhow::Result;
use serde_json::json;

use crate::config::edit::Edit;
use crate::model::digest::Digest;
use crate::model::layer::Layer;
use crate::model::platform::Platform;
use crate::store::chain_ids;

/// Variable of the environment that every image without one gets.
pub const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a stage has made.
#[derive(Debug, Clone)]
pub struct Made {
    /// Layers, lowest first.
    pub layers: Vec<Layer>,
    /// Configuration.
    pub config: Edit,
    /// Number of layers of the base image.
    pub of_base: usize,
    /// The base image: its ID and its name.
    pub base: Option<(Digest, String)>,
}

impl Made {
    /// Returns the state of `FROM scratch`.
    ///
    /// # Errors
    /// None in practice.
    pub fn scratch(platform: &Platform) -> Result<Self> {
        let (os, architecture, variant) = platform.parts();
        let mut config = json!({"architecture": architecture, "os": os, "config": {"Env": [PATH]},
            "rootfs": {"type": "layers", "diff_ids": []}, "history": []});
        if let Some(variant) = variant {
            config["variant"] = json!(variant);
        }
        Ok(Self { layers: Vec::new(), config: Edit::new(config.to_string().as_bytes())?, of_base: 0, base: None })
    }

    /// Returns the chain ID of the topmost layer.
    pub fn chain(&self) -> Option<Digest> {
        chain_ids(self.layers.iter().map(|layer| &layer.diff_id)).pop()
    }
}
