//! Annotations of the container from the image's configuration (image-spec, conversion.md).

use std::collections::BTreeMap;

use oci_spec::image::ImageConfiguration;

/// Prefix of the annotations that the specification defines.
const PREFIX: &str = "org.opencontainers.image.";

/// Prefixes of annotations that configure a runtime: files for hooks' output, CRIU settings, properties of the systemd
/// unit. Labels of an image must not set them.
const RUNTIME_PREFIXES: [&str; 6] =
    ["run.oci.", "org.criu.", "org.systemd.property.", "io.kubernetes.cri", "org.opencontainers.runc", "com.croci."];

/// Returns the annotations of an image; its labels override the implicit ones.
pub(super) fn annotations(image: &ImageConfiguration, base_name: Option<&str>) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut insert = |key: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            all.insert(format!("{PREFIX}{key}"), value);
        }
    };
    insert("os", Some(image.os().to_string()));
    insert("architecture", Some(image.architecture().to_string()));
    insert("variant", image.variant().clone());
    insert("os.version", image.os_version().clone());
    insert("os.features", image.os_features().as_ref().map(|list| list.join(",")));
    insert("author", image.author().clone());
    insert("created", image.created().clone());
    insert("ref.name", base_name.map(str::to_owned));
    if let Some(config) = image.config() {
        insert("stopSignal", config.stop_signal().clone());
        insert(
            "exposedPorts",
            config.exposed_ports().as_ref().map(|ports| {
                let mut ports = ports.clone();
                // sorted, because the configuration's map has no order
                ports.sort();
                ports.join(",")
            }),
        );
    }
    for (key, value) in image.labels_of_config().into_iter().flatten() {
        if !key.is_empty() && !RUNTIME_PREFIXES.iter().any(|prefix| key.starts_with(prefix)) {
            all.insert(key.clone(), value.clone());
        }
    }
    all
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use serde_json::json;

    #[test]
    fn an_image_tells_of_itself_and_steers_no_runtime() {
        let image: ImageConfiguration = serde_json::from_value(json!({
            "architecture": "arm64", "os": "linux", "variant": "v8", "author": "A <a@b>",
            "created": "2020-01-01T00:00:00Z", "os.version": "1", "os.features": ["x", "y"],
            "config": {
                "StopSignal": "SIGINT", "ExposedPorts": {"80/tcp": {}, "443/tcp": {}},
                "Labels": {"a": "b", "org.opencontainers.image.author": "label", "run.oci.hooks.stdout": "/etc/passwd",
                    "org.criu.config": "/x", "org.systemd.property.ExecStart": "x", "": "nothing"},
            },
            "rootfs": {"type": "layers", "diff_ids": []},
        }))
        .unwrap();
        let mut want: Vec<(String, &str)> = [
            ("os", "linux"),
            ("architecture", "arm64"),
            ("variant", "v8"),
            ("os.version", "1"),
            ("os.features", "x,y"),
            ("author", "label"),
            ("created", "2020-01-01T00:00:00Z"),
            ("stopSignal", "SIGINT"),
            ("exposedPorts", "443/tcp,80/tcp"),
            ("ref.name", "base:1"),
        ]
        .map(|(key, value)| (format!("{PREFIX}{key}"), value))
        .to_vec();
        want.push(("a".to_owned(), "b"));
        want.sort();
        let got = annotations(&image, Some("base:1"));
        assert_eq!(got.iter().map(|(key, value)| (key.clone(), value.as_str())).collect::<Vec<_>>(), want);
    }
}
