//! `corm export CONTAINER|IMAGE [-o FILE]`: writes the whole tree as a tar.

use base::coded;
use std::io::{BufWriter, IsTerminal as _, Write};
use std::os::fd::AsFd as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::{Context, ImageOrContainer, find_image_or_container};
use crate::commit::write_atomically;
use crate::container::create;
use crate::driver::mount_util;
use crate::layer::pack;
use crate::store::ContainerRecord;
use crate::store::ROOTFS;
use crate::store::Store;

/// Writes the tar to the file, or to standard output.
///
/// # Errors
/// Neither has this name, or the tree cannot be read, or the file cannot be written; an existing file is unchanged
/// then.
pub(super) fn run(context: &Context, what: &str, output: Option<&Path>) -> Result<u8> {
    let store = context.store()?;
    let found = find_image_or_container(&store, what)?;
    let write = |out: &mut dyn Write| -> Result<()> {
        match &found {
            ImageOrContainer::Container(container) => write_container(&store, container, out),
            ImageOrContainer::Image(image) => {
                let _adding = store.shared()?;
                store.unpack(&image.layers, &|_, _| {})?;
                store.sync()?;
                let view = store.driver().view(&image.chain_ids())?;
                pack::tree(view.root()?.as_fd(), out)
            }
        }
    };
    match output {
        Some(path) => write_atomically(&store, path, write)?,
        None => {
            let out = std::io::stdout();
            if out.is_terminal() {
                bail!(coded!(UsageValue, "a tar is not for a terminal: give -o FILE"));
            }
            let mut out = BufWriter::with_capacity(256 << 10, out.lock());
            write(&mut out)?;
            out.flush().context("standard output")?;
        }
    }
    Ok(0)
}

/// Writes a container's tree, which is mounted during the read if it was not.
fn write_container(store: &Store, container: &ContainerRecord, out: &mut dyn Write) -> Result<()> {
    if container.setup.userns.is_some() {
        // the mount of one that runs has the owners of its user namespace
        return pack::tree(store.driver().content(&container.id)?.root()?.as_fd(), out);
    }
    let was_mounted = mount_util::is_mounted(&store.container_dir(&container.id).join(ROOTFS))?;
    let root = mount_util::open_dir(&create::mount(store, &container.id)?)?;
    let written = pack::tree(root.as_fd(), out);
    drop(root);
    if !was_mounted {
        create::unmount(store, &container.id)?;
    }
    written
}
