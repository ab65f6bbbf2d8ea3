//! The language of Containerfiles (Dockerfiles, syntax 1): from text to instructions, and the words in them.
//!
//! Pure: no file is read here. `lines` joins lines to statements with their here-documents, `instruction` parses each,
//! `words` expands variables, `glob` and `ignore` match paths. What an instruction does is in `builder`.

mod flags;
pub mod glob;
pub mod ignore;
pub mod instruction;
mod lines;
pub mod mount;
mod pairs;
pub mod words;

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use base::coded;
use base::error::{Code, Coding as _};

pub use flags::FlagList;
pub use instruction::{Command, CopyArgs, Healthcheck, Instruction, Run};
pub use lines::{Heredoc, Statement};

/// Maximum size of a Containerfile in bytes.
pub const MAX_BYTES: usize = 4 << 20;

/// A parsed Containerfile.
#[derive(Debug, Clone)]
pub struct Containerfile {
    /// Name for messages.
    pub name: String,
    /// Character that escapes the next one and joins lines: `\` or a backtick.
    pub escape: char,
    /// Instructions, in order.
    pub steps: Vec<Step>,
}

/// An instruction with its place in the file.
#[derive(Debug, Clone)]
pub struct Step {
    /// Name of its file for messages, when it is not that of the Containerfile.
    pub file: Option<Arc<str>>,
    /// The statement as written.
    pub statement: Statement,
    /// What it means.
    pub instruction: Instruction,
}

impl Step {
    /// Returns the place and the text of the step, to begin an error with: `Containerfile:3: "COPY a b"`.
    pub fn place(&self, file: &str) -> String {
        place(self.file.as_deref().unwrap_or(file), &self.statement)
    }
}

impl Containerfile {
    /// Appends the instructions of another file, as Podman joins several `--file`.
    ///
    /// # Errors
    /// The files have different escape characters.
    pub fn append(&mut self, other: Containerfile) -> Result<()> {
        ensure!(
            self.escape == other.escape,
            coded!(BuildInvalid, "{}: has another escape character than {}", other.name, self.name)
        );
        let name: Arc<str> = other.name.into();
        self.steps.extend(other.steps.into_iter().map(|step| Step { file: Some(name.clone()), ..step }));
        Ok(())
    }
}

/// Formats the place of a statement and the statement itself.
fn place(file: &str, statement: &Statement) -> String {
    const SHOWN: usize = 120;
    let text: String = statement.text.chars().take(SHOWN).collect();
    let more = if statement.text.chars().count() > SHOWN { "…" } else { "" };
    format!("{file}:{}: \"{text}{more}\"", statement.line)
}

/// Parses a whole file; `name` is for messages.
///
/// # Errors
/// Names the file, the line and the instruction, and shows the line.
pub fn parse(name: &str, bytes: &[u8]) -> Result<Containerfile> {
    ensure!(
        bytes.len() <= MAX_BYTES,
        coded!(BuildInvalid, "{name}: more than {MAX_BYTES} bytes, no Containerfile has")
    );
    let text = std::str::from_utf8(bytes).map_err(|err| {
        let before = bytes.get(..err.valid_up_to()).unwrap_or_default();
        let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
        anyhow::anyhow!(coded!(BuildInvalid, "{name}:{line}: is not UTF-8"))
    })?;
    let (directives, statements) = lines::statements(name, text)?;
    let escape = directives.escape;
    let mut steps = Vec::with_capacity(statements.len());
    for statement in statements {
        let instruction =
            instruction::parse(&statement, escape).with_code(Code::BuildInvalid, || place(name, &statement))?;
        steps.push(Step { file: None, statement, instruction });
    }
    ensure!(!steps.is_empty(), coded!(BuildInvalid, "{name}: has no instruction"));
    Ok(Containerfile { name: name.to_owned(), escape, steps })
}

/// Parses the instruction of an ONBUILD trigger; `name` is for messages.
///
/// # Errors
/// As [`parse`]; several instructions, or one that no trigger may be.
pub fn parse_trigger(name: &str, text: &str) -> Result<Step> {
    let mut file = parse(name, text.as_bytes())?;
    let step = file.steps.pop().context("an empty trigger")?;
    ensure!(file.steps.is_empty(), coded!(BuildInvalid, "{name}: {text:?} has several instructions"));
    instruction::check_trigger(&step.statement.name).with_context(|| name.to_owned())?;
    Ok(step)
}

#[cfg(test)]
mod tests;
