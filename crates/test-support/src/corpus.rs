//! The corpus of the fuzz targets, which unit tests replay.

/// The function of a target.
pub type Target = fn(&[u8]);

/// Calls a target with each input of its corpus, the directory `name` below `corpus`.
pub fn replay(corpus: &str, name: &str, target: Target) {
    let dir = format!("{corpus}/{name}");
    let mut inputs = 0;
    for entry in std::fs::read_dir(&dir).unwrap() {
        target(&std::fs::read(entry.unwrap().path()).unwrap());
        inputs += 1;
    }
    assert!(inputs > 3, "{dir} has {inputs} inputs");
}
