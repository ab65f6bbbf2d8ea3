//! Documents as Podman, containerd, Docker and Buildah wrote them.

use std::fs;

const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/configs");

/// The files whose name says what they are, and their content.
fn files() -> Vec<(String, Vec<u8>)> {
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
            Err(err) => panic!("{name}: {}", crate::error::describe(&err)),
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
fn a_file_type_in_the_mode_of_a_recorded_device_is_taken_off() {
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
