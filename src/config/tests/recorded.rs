//! Documents that Podman, containerd, Docker and Buildah wrote.

use std::fs;

use serde_json::{Value, json};

const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/configs");

/// The files whose name says what they are, and their content.
pub(super) fn files() -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(DIR)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    assert!(files.len() > 90, "the recorded documents are there");
    files
}

#[test]
fn every_recorded_document_is_accepted() {
    for (name, bytes) in files() {
        let result = if name.contains("exec-process") {
            super::super::parse_process(&bytes).map(|process| process.warnings)
        } else if name.contains("resources") {
            super::super::parse_resources(&bytes).map(|_| Vec::new())
        } else {
            super::super::parse(&bytes).map(|config| config.warnings)
        };
        match result {
            Ok(warnings) => assert_eq!(warnings, Vec::<String>::new(), "{name}"),
            Err(err) => panic!("{name}: {}", base::error::describe(&err)),
        }
    }
}

#[test]
fn device_rules_of_an_update_are_not_read() {
    let (_, bytes) = files().into_iter().find(|(name, _)| name == "podman5-update-cpu-resources.json").unwrap();
    let resources = super::super::parse_resources(&bytes).unwrap();
    assert_eq!(*resources.devices(), None);
    assert_eq!(resources.cpu().as_ref().unwrap().shares(), Some(333));
}

#[test]
fn a_file_type_in_the_mode_of_a_recorded_device_is_removed() {
    let mut seen = 0;
    for (_, bytes) in files() {
        let Ok(config) = super::super::parse(&bytes) else { continue };
        for device in config.spec.linux().iter().flat_map(|linux| linux.devices().iter().flatten()) {
            assert!(device.file_mode().is_none_or(|mode| mode <= 0o777), "{device:?}");
            seen += 1;
        }
    }
    assert!(seen > 0);
}

/// The JSON pointers of all values in a document.
fn pointers(value: &Value, at: &str, into: &mut Vec<String>) {
    into.push(at.to_owned());
    match value {
        // the first two are enough, because the members are alike
        Value::Array(items) => {
            items.iter().take(2).enumerate().for_each(|(index, item)| pointers(item, &format!("{at}/{index}"), into));
        }
        Value::Object(entries) => {
            for (key, item) in entries {
                pointers(item, &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), into);
            }
        }
        _ => {}
    }
}

#[test]
fn cf_5_any_value_of_another_kind_is_an_error_that_names_a_field() {
    let strange =
        [json!(null), json!(true), json!(-7), json!(1e300), json!(""), json!("\0"), json!([[]]), json!({"x": 1})];
    for (name, bytes) in
        files().into_iter().filter(|(name, _)| name.contains("5-limits") || name.contains("userns.json"))
    {
        let document: Value = serde_json::from_slice(&bytes).unwrap();
        let mut places = Vec::new();
        pointers(&document, "", &mut places);
        assert!(places.len() > 50, "{name}");
        for place in places {
            for value in &strange {
                let mut changed = document.clone();
                *changed.pointer_mut(&place).unwrap() = value.clone();
                if let Err(err) = super::parse(&changed) {
                    let text = base::error::describe(&err);
                    // "configuration:" would be oci-spec's own message, which the shape check has to forestall
                    assert!(!text.starts_with("configuration:") && !text.contains('\n'), "{name} {place}: {text}");
                }
            }
        }
    }
}

#[test]
fn cf_2_a_document_cut_off_anywhere_is_an_error() {
    let (_, bytes) = files().into_iter().find(|(name, _)| name == "containerd2.1-default.json").unwrap();
    let whole = bytes.trim_ascii_end();
    for end in 0..whole.len() {
        assert!(super::super::parse(&whole[..end]).is_err(), "cut at {end}");
    }
}
