//! What docs/dev/architecture.md promises about the source, read from the source.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::path::{Path, PathBuf};

/// Longest file that anybody has to read.
const LONGEST: usize = 600;

/// Modules that may use everything: they are where it comes together.
const TOP: &[&str] = &["commands", "main", "lib", "bin"];

/// Small modules that all may use.
const SHARED: &[&str] = &["error", "log", "cpu_set", "id_mapping", "mountinfo"];

/// The table of docs/dev/architecture.md, "module | may use": what a module may use beside the shared ones.
fn may_use() -> Vec<(String, Vec<String>)> {
    let text = std::fs::read_to_string(root().join("docs/dev/architecture.md")).unwrap();
    let rows = text.lines().skip_while(|line| !line.starts_with("| module | may use")).skip(2);
    let names = |cell: &str| -> Vec<String> {
        let cell = cell.split(';').next().unwrap();
        let word = |part: &str| part.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        cell.split(',').map(word).filter(|name: &String| !name.is_empty()).collect()
    };
    let mut table = Vec::new();
    for row in rows.take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.trim_matches('|').splitn(2, '|').collect();
        for module in names(cells[0]) {
            table.push((module, names(cells[1])));
        }
    }
    assert!(table.len() > 8, "the table is in docs/dev/architecture.md");
    table
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(dir: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![root().join(dir)];
    while let Some(path) = todo.pop() {
        if path.is_dir() {
            todo.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            found.push(path);
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no source below {dir}");
    found
}

/// The files of the program, without those of modules that are declared under `#[cfg(test)]`.
fn program_files() -> Vec<PathBuf> {
    let all = rust_files("src");
    let mut tests = Vec::new();
    for path in &all {
        let text = std::fs::read_to_string(path).unwrap();
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for pair in lines.windows(2).filter(|pair| pair[0] == "#[cfg(test)]") {
            // `mod name;` or `#[path = "name.rs"]`, `#[path = "name/mod.rs"]`
            let module = pair[1].strip_suffix(';').and_then(|line| line.rsplit_once("mod ")).map(|(_, name)| name);
            let file = pair[1].strip_prefix("#[path = \"").and_then(|rest| rest.split(['/', '.']).next());
            tests.extend(module.or(file).map(str::to_owned));
        }
    }
    let is_test = |path: &PathBuf| {
        let below = path.strip_prefix(root()).unwrap().with_extension("");
        below.iter().any(|part| tests.iter().any(|name| part == name.as_str()))
    };
    all.iter().filter(|path| !is_test(path)).cloned().collect()
}

fn name(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

/// The module at the top of the crate that a file belongs to: `src/plan/mount.rs` and `src/plan.rs` are `plan`.
fn module(path: &Path) -> String {
    let rest = path.strip_prefix(root().join("src")).unwrap();
    let first = rest.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// The lines of a file that are code: comments, string contents of a line and everything from the tests on are cut.
fn code(path: &Path) -> Vec<(usize, String)> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("#[cfg(test)]") {
            break;
        }
        lines.push((number + 1, without_strings(line)));
    }
    lines
}

/// Empties string literals and drops a `//` comment.
fn without_strings(line: &str) -> String {
    let mut out = String::new();
    let mut chars = line.chars().peekable();
    let mut inside = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' if inside => drop(chars.next()),
            '"' => {
                inside = !inside;
                out.push('"');
            }
            '/' if !inside && chars.peek() == Some(&'/') => break,
            c if !inside => out.push(c),
            _ => {}
        }
    }
    out
}

fn complain(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

/// Whether `word` stands in `line` as a whole word.
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        !line[..at].ends_with(is_name) && !line[at + word.len()..].starts_with(is_name)
    })
}

#[test]
fn unsafe_code_lives_in_sys_only() {
    let mut found = Vec::new();
    for path in program_files().into_iter().filter(|path| module(path) != "sys") {
        let lines = code(&path);
        let used = lines.iter().filter(|(_, line)| has_word(line, "unsafe"));
        found.extend(used.map(|(number, line)| format!("{}:{number}: {}", name(&path), line.trim())));
    }
    complain("unsafe outside src/sys", &found);
}

/// Calls that change mode, owner, times or attributes of what a symlink at the path leads to.
const FOLLOWING: &[&str] = &[
    "set_permissions",
    "fs::chown",
    "unistd::chown",
    "libc::chmod",
    "libc::chown",
    "libc::setxattr",
    "libc::removexattr",
    "libc::utimes",
    "libc::utime",
    "FollowSymlink",
];

/// Files that may use one, on a directory that croci or corm has just created and no other user may write to.
const OWN_DIRECTORIES: &[&str] = &[
    // trees beside their final place
    "src/image/driver/delta.rs",
    // the files of a container in corm's store
    "src/image/container/files.rs",
    // the directory of the notify socket, in the container's state directory
    "src/runtime/notify/mod.rs",
];

/// A symlink in a root file system or volume could lead such a change to a file of the host.
#[test]
fn nothing_is_changed_through_a_symlink() {
    let mut found = Vec::new();
    let mut exceptions: Vec<&str> = OWN_DIRECTORIES.to_vec();
    for path in program_files() {
        for (number, line) in code(&path) {
            // of an open file it is no path
            let line = line.replace(".set_permissions(", "");
            if !FOLLOWING.iter().any(|word| has_word(&line, word)) || line.trim_start().starts_with("use ") {
                continue;
            }
            let file = name(&path);
            if OWN_DIRECTORIES.contains(&file.as_str()) {
                exceptions.retain(|other| *other != file);
            } else {
                found.push(format!("{file}:{number}: {}", line.trim()));
            }
        }
    }
    complain("changes of a file by a path that is followed", &found);
    assert!(exceptions.is_empty(), "exceptions that nothing needs: {exceptions:?}");
}

#[test]
fn every_unsafe_block_has_its_reason() {
    let mut found = Vec::new();
    for path in rust_files("src/sys") {
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let clean = without_strings(line);
            if !has_word(&clean, "unsafe") || clean.contains("unsafe fn") || clean.contains("unsafe extern") {
                continue;
            }
            let near = lines[index.saturating_sub(8)..=index].iter().any(|line| line.contains("SAFETY:"));
            if !near {
                found.push(format!("{}:{}", name(&path), index + 1));
            }
        }
    }
    complain("unsafe without a SAFETY comment", &found);
}

#[test]
fn no_file_is_too_long() {
    let mut found = Vec::new();
    for path in rust_files("src").into_iter().chain(rust_files("tests")) {
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        if lines > LONGEST {
            found.push(format!("{}: {lines} lines", name(&path)));
        }
    }
    complain("files over 600 lines", &found);
}

#[test]
fn every_module_says_what_lives_there() {
    let mut found = Vec::new();
    for path in program_files().into_iter().chain(rust_files("tests")) {
        let text = std::fs::read_to_string(&path).unwrap();
        if !text.starts_with("//!") {
            found.push(name(&path));
        }
    }
    complain("files without a //! header", &found);
}

/// A module with files of its own is a directory with a `mod.rs`; unit tests are `tests.rs` or `tests/` in it.
#[test]
fn a_module_is_one_file_or_one_directory() {
    let mut found = Vec::new();
    for path in rust_files("src").into_iter().filter(|path| module(path) != "image") {
        let stem = path.with_extension("");
        if stem.is_dir() {
            found.push(format!("{} beside a directory of that name", name(&path)));
        }
        if stem.file_name().is_some_and(|stem| stem.to_string_lossy().ends_with("_tests")) {
            found.push(format!("{} is not tests.rs", name(&path)));
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let named = text.lines().filter(|line| line.trim_start().starts_with("#[path"));
        found.extend(named.map(|line| format!("{}: {line}", name(&path))));
    }
    complain("modules elsewhere than where they are looked for", &found);
}

/// Modules named in a line by `crate::x` or `crate::{x, y::z}`.
fn uses(line: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in line.match_indices("crate::") {
        let rest = &line[at + "crate::".len()..];
        let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut start = true;
            for (index, c) in group.char_indices() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => start = true,
                    c if start && c.is_alphabetic() => {
                        names.push(word(&group[index..]));
                        start = false;
                    }
                    _ => {}
                }
            }
        } else {
            names.push(word(rest));
        }
    }
    names
}

#[test]
fn modules_use_only_what_lies_below_them() {
    let table = may_use();
    let modules: Vec<String> = rust_files("src").iter().map(|path| module(path)).collect();
    let mut found = Vec::new();
    for path in program_files() {
        let own = module(&path);
        if TOP.contains(&own.as_str()) {
            continue;
        }
        // a module may stand in several rows, one for each of its parts
        let rows: Vec<_> = table.iter().filter(|(name, _)| *name == own).collect();
        if rows.is_empty() {
            found.push(format!("{}: module {own} is not in the table", name(&path)));
            continue;
        }
        let allowed: Vec<&str> = rows.iter().flat_map(|(_, uses)| uses).map(String::as_str).collect();
        if allowed.contains(&"everything") {
            continue;
        }
        let lines = code(&path);
        // a group over several lines is one statement
        let mut statement = String::new();
        for (number, line) in &lines {
            statement.push_str(line);
            let open =
                statement.contains("crate::{") && statement.matches('{').count() > statement.matches('}').count();
            if open && !line.contains(';') {
                continue;
            }
            for used in uses(&statement) {
                let known = modules.contains(&used);
                if known && used != own && !allowed.contains(&used.as_str()) && !SHARED.contains(&used.as_str()) {
                    found.push(format!("{}:{number}: {own} uses {used}", name(&path)));
                }
            }
            statement.clear();
        }
    }
    complain("uses against the table of docs/dev/architecture.md", &found);
}

/// Only these read the types of oci-spec; the rest gets the plan.
#[test]
fn oci_spec_types_end_at_the_plan() {
    let readers = ["config", "id_mapping", "plan", "seccomp", "cgroup", "commands", "image"];
    // they put a configuration together for the plan: named one by one in the document
    let files = ["prepare", "stored", "hooks", "exec", "exec_flags", "namespaces", "notify/mod"]
        .map(|file| format!("src/runtime/{file}.rs"));
    let reads = |path: &PathBuf| readers.contains(&module(path).as_str()) || files.contains(&name(path));
    let mut found = Vec::new();
    for path in program_files().into_iter().filter(|path| !reads(path)) {
        let lines = code(&path);
        let used = lines.iter().filter(|(_, line)| has_word(line, "oci_spec"));
        found.extend(used.map(|(number, _)| format!("{}:{number}", name(&path))));
    }
    complain("oci_spec outside of the modules that plan", &found);
}

#[test]
fn nothing_panics_on_purpose() {
    let mut found = Vec::new();
    for path in program_files() {
        for (number, line) in code(&path) {
            for word in [".unwrap()", ".expect(", "panic!(", "todo!(", "unimplemented!(", "unreachable!("] {
                if line.contains(word) {
                    found.push(format!("{}:{number}: {word}", name(&path)));
                }
            }
        }
    }
    complain("panics outside of tests", &found);
}

#[test]
fn nothing_is_left_to_do() {
    let mut found = Vec::new();
    let own = Path::new(file!()).file_name().unwrap();
    for path in rust_files("src").into_iter().chain(rust_files("tests")).filter(|path| path.file_name() != Some(own)) {
        let text = std::fs::read_to_string(&path).unwrap();
        for (number, line) in text.lines().enumerate() {
            if ["TODO", "FIXME", "XXX"].iter().any(|word| has_word(line, word)) {
                found.push(format!("{}:{}: {}", name(&path), number + 1, line.trim()));
            }
        }
    }
    complain("unfinished", &found);
}

#[test]
fn the_house_has_its_papers() {
    for file in [
        "README.md",
        "Makefile",
        "LICENSE",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "Cargo.lock",
        "docs/dev/architecture.md",
        "docs/dev/decisions.md",
    ] {
        let length = std::fs::metadata(root().join(file)).map_or(0, |meta| meta.len());
        assert!(length > 0, "{file} is missing or empty");
    }
    let makefile = std::fs::read_to_string(root().join("Makefile")).unwrap();
    for target in ["help", "build", "test", "conformance", "bench", "lint", "install", "demo"] {
        assert!(makefile.lines().any(|line| line.starts_with(&format!("{target}:"))), "make {target}");
    }
}
