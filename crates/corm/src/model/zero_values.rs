//! The zero values of Go: what Docker and Podman read where a document has `null`, or lacks a value.
//!
//! Go's decoder leaves a field as it is for `null`, so a list is empty, a text is empty and an object has no fields. Those
//! tools also write such documents. oci-spec's types refuse most of them, so the values are filled in before.

use serde_json::{Map, Value};

/// The form of a value.
pub(super) enum Shape {
    /// A text.
    Text,
    /// An object without fields, the value of Go's sets.
    Empty,
    /// A value that is left as it is.
    Other,
    /// A list of values of one form.
    List(&'static Shape),
    /// A map from any key to values of one form.
    Map(&'static Shape),
    /// An object with these fields; others are left as they are.
    Object(&'static [Field]),
}

/// A field of an object.
pub(super) struct Field {
    name: &'static str,
    shape: Shape,
    /// Whether oci-spec's type requires it, so that an absent one is added.
    required: bool,
}

/// Defines a field that may be absent.
const fn may(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, required: false }
}

/// Defines a field that is added where it is absent.
const fn must(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, required: true }
}

const PLATFORM: Shape = Shape::Object(&[
    must("os", Shape::Text),
    must("architecture", Shape::Text),
    may("variant", Shape::Text),
    may("os.version", Shape::Text),
    may("os.features", Shape::List(&Shape::Text)),
    may("features", Shape::List(&Shape::Text)),
]);

const DESCRIPTOR: Shape = Shape::Object(&[
    must("mediaType", Shape::Text),
    may("urls", Shape::List(&Shape::Text)),
    may("annotations", Shape::Map(&Shape::Text)),
    may("platform", PLATFORM),
    may("artifactType", Shape::Other),
    may("data", Shape::Other),
]);

/// The form of a manifest.
pub(super) const MANIFEST: Shape = Shape::Object(&[
    may("mediaType", Shape::Other),
    may("artifactType", Shape::Other),
    may("config", DESCRIPTOR),
    must("layers", Shape::List(&DESCRIPTOR)),
    may("subject", DESCRIPTOR),
    may("annotations", Shape::Map(&Shape::Text)),
]);

/// The form of an index.
pub(super) const INDEX: Shape = Shape::Object(&[
    may("mediaType", Shape::Other),
    may("artifactType", Shape::Other),
    must("manifests", Shape::List(&DESCRIPTOR)),
    may("subject", DESCRIPTOR),
    may("annotations", Shape::Map(&Shape::Text)),
]);

/// The form of an image configuration.
pub(super) const CONFIGURATION: Shape = Shape::Object(&[
    must("architecture", Shape::Text),
    must("os", Shape::Text),
    may("variant", Shape::Other),
    may("created", Shape::Other),
    may("author", Shape::Other),
    may("os.version", Shape::Other),
    may("os.features", Shape::List(&Shape::Text)),
    may(
        "config",
        Shape::Object(&[
            may("User", Shape::Text),
            may("ExposedPorts", Shape::Map(&Shape::Empty)),
            may("Env", Shape::List(&Shape::Text)),
            may("Entrypoint", Shape::List(&Shape::Text)),
            may("Cmd", Shape::List(&Shape::Text)),
            may("Volumes", Shape::Map(&Shape::Empty)),
            may("WorkingDir", Shape::Text),
            may("Labels", Shape::Map(&Shape::Text)),
            may("StopSignal", Shape::Text),
        ]),
    ),
    must("rootfs", Shape::Object(&[must("type", Shape::Text), must("diff_ids", Shape::List(&Shape::Text))])),
    may(
        "history",
        Shape::List(&Shape::Object(&[
            may("created", Shape::Other),
            may("author", Shape::Other),
            may("created_by", Shape::Other),
            may("comment", Shape::Other),
            may("empty_layer", Shape::Other),
        ])),
    ),
]);

impl Shape {
    /// Returns Go's zero value of this form.
    fn zero(&self) -> Value {
        match self {
            Shape::Text => Value::String(String::new()),
            Shape::Other => Value::Null,
            Shape::List(_) => Value::Array(Vec::new()),
            Shape::Empty | Shape::Map(_) | Shape::Object(_) => Value::Object(Map::new()),
        }
    }

    /// Replaces each `null` in a value of this form, and adds required fields. A value of another form stays, because
    /// the parser reports it.
    pub(super) fn fill(&self, value: &mut Value) {
        if value.is_null() {
            *value = self.zero();
        }
        match (self, value) {
            (Shape::List(shape), Value::Array(items)) => items.iter_mut().for_each(|item| shape.fill(item)),
            (Shape::Map(shape), Value::Object(map)) => map.values_mut().for_each(|value| shape.fill(value)),
            (Shape::Object(_), Value::Object(map)) => self.fill_object(map),
            _ => {}
        }
    }

    /// Fills an object in, as [`Shape::fill`] does.
    pub(super) fn fill_object(&self, map: &mut Map<String, Value>) {
        let Shape::Object(fields) = self else { return };
        for Field { name, shape, required } in *fields {
            if map.get(*name).is_some_and(Value::is_null) {
                map.remove(*name);
            }
            if *required && !map.contains_key(*name) {
                map.insert((*name).to_owned(), shape.zero());
            }
            if let Some(value) = map.get_mut(*name) {
                shape.fill(value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn null_is_what_go_makes_of_it() {
        let mut config = json!({
            "architecture": "amd64", "os": null, "created": null, "x": null, "history": [null, {"comment": null}],
            "config": {"Env": null, "Entrypoint": [null, "a"], "Labels": {"a": null}, "Volumes": {"/d": null}, "Y": null},
            "rootfs": {"type": "layers", "diff_ids": null},
        });
        CONFIGURATION.fill(&mut config);
        let want = json!({
            "architecture": "amd64", "os": "", "x": null, "history": [{}, {}],
            "config": {"Entrypoint": ["", "a"], "Labels": {"a": ""}, "Volumes": {"/d": {}}, "Y": null},
            "rootfs": {"type": "layers", "diff_ids": []},
        });
        assert_eq!(config, want);
    }

    #[test]
    fn a_value_of_another_form_stays() {
        let mut manifest = json!({"layers": {"a": 1}, "config": [null], "annotations": "x"});
        MANIFEST.fill(&mut manifest);
        assert_eq!(manifest, json!({"layers": {"a": 1}, "config": [null], "annotations": "x"}));
        let mut index = json!({"manifests": [null, {"platform": {"os": "linux"}, "annotations": {"a": null}}]});
        INDEX.fill(&mut index);
        let platform = json!({"os": "linux", "architecture": ""});
        let entry = json!({"mediaType": "", "platform": platform, "annotations": {"a": ""}});
        assert_eq!(index, json!({"manifests": [{"mediaType": ""}, entry]}));
    }
}
