//! Man pages, and completions for bash, zsh and fish, from the tables of flags that croci and corm parse by.
//!
//! Pure: [`files`] returns names and texts. The program beside it writes them to `packaging/`, where they are kept in the
//! tree, and a test compares them.

mod bash;
mod fish;
mod page;
mod words;
mod zsh;

use base::cli_parser::manual::Manual;

/// Directories of the files.
pub const DIRECTORIES: [&str; 4] = ["man", "bash", "zsh", "fish"];

/// Returns the name of each file below `packaging/`, and its text.
pub fn files() -> Vec<(String, String)> {
    let mut files = Vec::new();
    for program in [croci::cli::manual(), corm::cli::manual()] {
        files.extend(page::pages(&program).into_iter().map(|(name, text)| (format!("man/{name}"), text)));
        let Manual { name, .. } = program;
        files.push((format!("bash/{name}"), bash::script(&program)));
        files.push((format!("zsh/_{name}"), zsh::script(&program)));
        files.push((format!("fish/{name}.fish"), fish::script(&program)));
    }
    files
}
