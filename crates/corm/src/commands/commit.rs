//! `corm commit`: creates an image from the changes of a container.

use anyhow::Result;
use base::error::{Code, Coding as _};

use super::{Context, print};
use crate::cli::args;
use crate::cli::args::LogLevel;
use crate::commit;
use linux::place::Place;

/// Commits, and prints the image ID, or the path of the tar.
///
/// # Errors
/// As [`commit::commit`]; the name keeps its previous image then.
pub(super) fn run(context: &Context, args: &args::Commit) -> Result<u8> {
    let store = context.store()?;
    let image = commit::commit(&store, args, &|text| context.report(LogLevel::Debug, text))?;
    if let Some(file) = &args.iidfile {
        let place = Place::resolve(file).with_code(Code::UsageValue, || format!("--iidfile {file:?}"))?;
        place
            .renew(image.id.to_string().as_bytes(), 0o644)
            .with_code(Code::UsageValue, || format!("--iidfile {file:?}"))?;
    }
    match &args.output {
        Some(path) => {
            commit::write_tar(&store, &image, path)?;
            print::line(path.display())?;
        }
        None => print::line(image.id.hex())?,
    }
    Ok(0)
}
