//! The stages of a build: what each begins with, what it needs of others, and which are needed at all.
//!
//! Pure.

use base::coded;
use base::error::{Code, Coding as _};
use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail, ensure};

use super::scope::{Given, Scope};
use crate::containerfile::{Containerfile, CopyArgs, Instruction, Step};

/// What a stage begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// Nothing.
    Scratch,
    /// An earlier stage.
    Stage(usize),
    /// An image, or a named context.
    Image(String),
}

/// A stage.
#[derive(Debug, Clone)]
pub struct Stage {
    /// Its name.
    pub name: Option<String>,
    /// What it begins with.
    pub base: Base,
    /// Platform of its base.
    pub platform: Option<String>,
    /// Its `FROM`.
    pub from: Step,
    /// The instructions after it.
    pub steps: Vec<Step>,
}

/// All of a build that follows from the Containerfile.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The stages, in the order of the file.
    pub stages: Vec<Stage>,
    /// Arguments before the first stage.
    pub globals: Scope,
    /// The stage that becomes the image.
    pub target: usize,
    /// The stages that it needs, itself included.
    pub needed: BTreeSet<usize>,
    /// Name of the file, for messages.
    pub file: String,
    /// Escape character of the file.
    pub escape: char,
}

impl Plan {
    /// Plans the build of a stage, by default of the last one; `contexts` are the names of `--build-context`.
    ///
    /// # Errors
    /// No such stage, an instruction before the first `FROM`, a base without a name.
    pub fn new(file: Containerfile, given: &Given, target: Option<&str>, contexts: &[String]) -> Result<Self> {
        let (name, escape) = (file.name, file.escape);
        let mut plan = Self {
            stages: Vec::new(),
            globals: Scope::default(),
            target: 0,
            needed: BTreeSet::new(),
            file: name,
            escape,
        };
        for step in file.steps {
            let place = step.place(&plan.file);
            plan.add(step, given, contexts).with_context(|| place)?;
        }
        ensure!(!plan.stages.is_empty(), coded!(BuildInvalid, "{}: has no FROM", plan.file));
        plan.target = match target {
            None => plan.stages.len() - 1,
            Some(wanted) => plan
                .find(wanted, plan.stages.len())
                .with_code(Code::UsageValue, || format!("--target {wanted:?}: no such stage"))?,
        };
        plan.need(plan.target);
        Ok(plan)
    }

    /// Notes all stages, also those that the target does not need.
    pub fn need_all(&mut self) {
        self.needed.extend(0..self.stages.len());
    }

    /// Adds an instruction.
    fn add(&mut self, step: Step, given: &Given, contexts: &[String]) -> Result<()> {
        let Instruction::From { image, name, platform } = &step.instruction else {
            match (&step.instruction, self.stages.last_mut()) {
                (_, Some(stage)) => stage.steps.push(step),
                (Instruction::Arg(pairs), None) => {
                    for (name, default) in pairs {
                        let expand = |text: &String| self.globals.expand_global(self.escape, given, text);
                        let default = default.as_ref().map(expand).transpose()?;
                        self.globals.declare(given, None, name, default);
                    }
                }
                _ => bail!(coded!(BuildInvalid, "{}: no FROM is before it", step.statement.name)),
            }
            return Ok(());
        };
        let expand = |text: &str| self.globals.expand_global(self.escape, given, text);
        let image = expand(image)?;
        ensure!(!image.is_empty(), coded!(BuildInvalid, "FROM: the name of the base image is empty"));
        let platform = platform.as_deref().map(expand).transpose()?.filter(|platform| !platform.is_empty());
        let of_stage = self.find(&image, self.stages.len());
        let base = match of_stage {
            Some(stage) => Base::Stage(stage),
            None if image == "scratch" && !contexts.iter().any(|name| name == "scratch") => Base::Scratch,
            None => Base::Image(image),
        };
        self.stages.push(Stage { name: name.clone(), base, platform, from: step, steps: Vec::new() });
        Ok(())
    }

    /// Returns the names that more than one stage has, each with the places of its later ones; the last one before its use is meant.
    pub fn repeated_names(&self) -> impl Iterator<Item = (&str, String)> {
        self.stages.iter().enumerate().filter_map(|(number, stage)| {
            let name = stage.name.as_deref()?;
            let before = self.stages.get(..number)?.iter().any(|other| is_named(other, name));
            before.then(|| (name, stage.from.place(&self.file)))
        })
    }

    /// Finds a stage before `end` by name or number.
    pub fn find(&self, text: &str, end: usize) -> Option<usize> {
        let stages = self.stages.get(..end)?;
        stages
            .iter()
            .rposition(|stage| is_named(stage, text))
            .or_else(|| text.parse().ok().filter(|&number| number < end))
    }

    /// Notes a stage and those that it needs.
    fn need(&mut self, stage: usize) {
        if !self.needed.insert(stage) {
            return;
        }
        for other in self.needs_of(stage) {
            self.need(other);
        }
    }

    /// Returns the stages that a stage needs directly.
    fn needs_of(&self, at: usize) -> Vec<usize> {
        let Some(stage) = self.stages.get(at) else { return Vec::new() };
        let mut needs: Vec<usize> = match stage.base {
            Base::Stage(base) => vec![base],
            _ => Vec::new(),
        };
        for step in &stage.steps {
            for name in sources(&step.instruction) {
                if name.contains('$') {
                    // its value is known when the stage runs: any earlier stage may be meant
                    needs.extend(0..at);
                } else {
                    needs.extend(self.find(name, at));
                }
            }
        }
        needs
    }
}

/// Puts another image in the place of the one that the first `FROM` names.
pub fn replace_base(file: &mut Containerfile, with: &str) {
    let first = file.steps.iter_mut().find_map(|step| match &mut step.instruction {
        Instruction::From { image, .. } => Some(image),
        _ => None,
    });
    if let Some(image) = first {
        with.clone_into(image);
    }
}

/// Returns whether a text names a stage, without regard to case.
fn is_named(stage: &Stage, text: &str) -> bool {
    stage.name.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(text))
}

/// Returns what an instruction copies or mounts from.
fn sources(instruction: &Instruction) -> Vec<&str> {
    match instruction {
        Instruction::Copy(CopyArgs { from: Some(from), .. }) => vec![from],
        Instruction::Run(run) => run.mounts.iter().filter_map(|mount| mount.from.as_deref()).collect(),
        // what the trigger of a base names is built when the trigger runs
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::containerfile::parse;
    use crate::model::platform::Platform;

    fn plan(text: &str, target: Option<&str>) -> Result<Plan> {
        let given = Given::new(&["v=2".into()], &Platform::host(), "").unwrap();
        Plan::new(parse("f", text.as_bytes()).unwrap(), &given, target, &[])
    }

    #[test]
    fn only_needed_stages_are_built() {
        let text = "ARG v=1\nFROM a:$v AS one\nFROM scratch AS two\nFROM one AS three\nRUN --mount=target=/m,from=two x\n\
                    FROM b AS four\nFROM b\nCOPY --from=0 /a /b\n";
        for (target, number, needed) in
            [(None, 4, &[0, 4][..]), (Some("THREE"), 2, &[0, 1, 2]), (Some("1"), 1, &[1]), (Some("four"), 3, &[3])]
        {
            let plan = plan(text, target).unwrap();
            assert_eq!((plan.target, plan.needed), (number, needed.iter().copied().collect()), "{target:?}");
        }
        let plan = plan(text, None).unwrap();
        let bases: Vec<&Base> = plan.stages.iter().map(|stage| &stage.base).collect();
        let image = |name: &str| Base::Image(name.to_owned());
        assert_eq!(bases, [&image("a:2"), &Base::Scratch, &Base::Stage(0), &image("b"), &image("b")]);
    }

    #[test]
    fn a_build_needs_a_stage() {
        for (text, target, wanted) in [
            ("ARG a", None, "has no FROM"),
            ("RUN x\nFROM a", None, "f:1: \"RUN x\": RUN: no FROM is before it"),
            ("FROM $none", None, "is empty"),
            ("FROM a", Some("b"), "--target \"b\": no such stage"),
            ("FROM a", Some("1"), "no such stage"),
        ] {
            let err = format!("{:#}", plan(text, target).unwrap_err());
            assert!(err.contains(wanted), "{text}: {err}");
        }
    }
}
