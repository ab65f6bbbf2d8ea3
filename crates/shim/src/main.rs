//! The program containerd-shim-croci-v2.

#![no_main]

linux::program!(shim::call);

// as croci's: musl's allocator asks the kernel for memory and gives it back many times in a verb
#[cfg(target_env = "musl")]
#[global_allocator]
static HEAP: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;
