//! The start of a program whose every microsecond counts, without that of the standard library.
//!
//! The library's finds the guard page of the stack, for which it reads `/proc/self/maps`, and sets up a handler that names an
//! overflow of the stack: 17 system calls and a tenth of the program that nothing else uses.

use std::io;

use crate::cvt;

/// Defines the C library's entry point of a program that has `#![no_main]`: calls the function, which returns the exit status.
#[macro_export]
macro_rules! program {
    ($run:path) => {
        // SAFETY: there is one function of this name, because the program has `#![no_main]`; its type is C's.
        #[unsafe(no_mangle)]
        extern "C" fn main(_count: i32, arguments: *mut *const std::ffi::c_char) -> i32 {
            // SAFETY: the C library calls `main` with the program's arguments.
            unsafe { $crate::start::start(arguments, $run) }
        }
    };
}

/// Prepares the process as the standard library does and calls `run`, which returns the exit status.
///
/// # Safety
/// `arguments` is what the C library gives `main`.
pub unsafe fn start(arguments: *mut *const libc::c_char, run: fn() -> u8) -> ! {
    // SAFETY: as the caller promises.
    unsafe { crate::binary::note_arguments(arguments) };
    crate::image::protect_constants();
    // a write to a closed pipe is an error and no signal
    let ready = open_streams().and_then(|()| crate::signal::set_ignored(libc::SIGPIPE));
    // flushes standard output
    std::process::exit(if ready.is_ok() { run().into() } else { 1 })
}

/// Opens `/dev/null` as each standard stream that is closed, because the next file would become that stream.
fn open_streams() -> io::Result<()> {
    let mut streams = [0, 1, 2].map(|fd| libc::pollfd { fd, events: 0, revents: 0 });
    // SAFETY: pointer and length describe the array, which lives through the call; no time to wait.
    let polled = cvt(unsafe { libc::poll(streams.as_mut_ptr(), streams.len() as libc::nfds_t, 0) }.into()).is_ok();
    let is_closed = |stream: &libc::pollfd| {
        // one call for each where poll(2) fails, for want of memory or because RLIMIT_NOFILE is below three
        // SAFETY: takes numbers only.
        if polled { stream.revents & libc::POLLNVAL != 0 } else { unsafe { libc::fcntl(stream.fd, libc::F_GETFD) < 0 } }
    };
    for _ in streams.iter().filter(|stream| is_closed(stream)) {
        // SAFETY: the path is a constant that ends with NUL. The lowest free number is that of the stream.
        cvt(unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) }.into())?;
    }
    Ok(())
}
