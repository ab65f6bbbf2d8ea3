//! Protection of the runtime's own binary: it runs only from a file that no container can open for writing
//! (CVE-2019-5736).
//!
//! A container can open the binary through `/proc/PID/exe`, or make the kernel execute it by `#!/proc/self/exe`. The
//! verbs that put a process into a container therefore execute the binary again, from a detached read-only clone of its
//! mount. That execve closes the clone's descriptor, which dissolves the mount: no process can name it afterwards and
//! make it writable, whatever its capabilities. Where a mount cannot be cloned (no CAP_SYS_ADMIN over the mount
//! namespace, an unbindable mount) a sealed memfd is used. A file on a read-only mount (an immutable /usr) is no
//! exception, because a container's open descriptor would become writable once the host remounts it.
//!
//! The second run is recognised by the path of its binary. In a dissolved mount that is "/", the root of the clone; no
//! other file has that path.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::sync::atomic::{AtomicPtr, Ordering};

use libc::c_char;
#[cfg(target_env = "gnu")]
use libc::c_int;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::mount;

const SELF: &CStr = c"/proc/self/exe";

/// Ensures that this process runs from a file that cannot be opened for writing: executes it again if necessary, and
/// then does not return.
///
/// # Errors
/// Neither a read-only clone of the mount nor a sealed copy can be created: the container must not be entered.
pub fn ensure_protected() -> io::Result<()> {
    if is_protected()? {
        return Ok(());
    }
    let binary = open_self()?;
    if let Ok(clone) = read_only_clone() {
        let _ = execute(clone.as_fd());
    }
    Err(execute(sealed_copy(&binary)?.as_fd()))
}

/// Returns whether this process runs from a file that cannot be opened for writing.
///
/// # Errors
/// procfs is not mounted.
pub fn is_protected() -> io::Result<bool> {
    Ok(is_dissolved(SELF)? && is_on_read_only_mount(SELF)? || is_sealed(open_self()?.as_fd()))
}

/// Returns whether the file's mount is in no mount namespace and has this file as its root.
fn is_dissolved(path: &CStr) -> io::Result<bool> {
    let target = nix::fcntl::readlink(path)?;
    // a newer version has replaced the file
    Ok(target == "/" || target == "/ (deleted)")
}

fn is_on_read_only_mount(path: &CStr) -> io::Result<bool> {
    let flags = nix::sys::statvfs::statvfs(path)?.flags();
    Ok(flags.contains(nix::sys::statvfs::FsFlags::ST_RDONLY))
}

fn open_self() -> io::Result<File> {
    File::open("/proc/self/exe")
}

/// All seals that keep the content as it is.
const SEALS: SealFlag =
    SealFlag::F_SEAL_SEAL.union(SealFlag::F_SEAL_SHRINK).union(SealFlag::F_SEAL_GROW).union(SealFlag::F_SEAL_WRITE);

fn is_sealed(file: BorrowedFd<'_>) -> bool {
    fcntl(file, FcntlArg::F_GET_SEALS).is_ok_and(|seals| SealFlag::from_bits_retain(seals).contains(SEALS))
}

fn read_only_clone() -> io::Result<OwnedFd> {
    let how = mount::CloneFlags { recursive: false, nofollow: false };
    let clone = mount::clone_tree(nix::fcntl::AT_FDCWD, SELF, how)?;
    mount::set_attr(clone.as_fd(), false, mount::MountAttr { set: mount::ATTR_RDONLY, ..Default::default() })?;
    Ok(clone)
}

fn sealed_copy(binary: &File) -> io::Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let copy = match memfd_create(c"croci", flags | MFdFlags::from_bits_retain(libc::MFD_EXEC)) {
        // before Linux 6.3
        Err(nix::Error::EINVAL) => memfd_create(c"croci", flags)?,
        created => created?,
    };
    let mut copy = File::from(copy);
    io::copy(&mut &*binary, &mut copy)?;
    seal(&copy)?;
    Ok(copy.into())
}

/// Seals the file; tries again for some seconds after `EBUSY`, because on a busy host the kernel itself may hold a page for a
/// moment (migration, compaction).
fn seal(copy: &File) -> io::Result<()> {
    let mut again = 19;
    loop {
        match fcntl(copy, FcntlArg::F_ADD_SEALS(SEALS)) {
            Err(nix::Error::EBUSY) if again > 0 => again -= 1,
            sealed => return Ok(sealed.map(drop)?),
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

/// Executes the program behind `file` with this process's arguments and environment.
fn execute(file: BorrowedFd<'_>) -> io::Error {
    let words: Vec<CString> = arguments().into_iter().filter_map(|word| CString::new(word.into_vec()).ok()).collect();
    let mut argv: Vec<*const c_char> = words.iter().map(|word| word.as_ptr()).collect();
    argv.push(std::ptr::null());
    // SAFETY: argv is an array of NUL-terminated strings that ends with a null pointer and lives through the call;
    // environ is libc's own array, which no other thread changes because croci has one thread.
    unsafe {
        libc::syscall(libc::SYS_execveat, file.as_raw_fd(), c"".as_ptr(), argv.as_ptr(), environ, libc::AT_EMPTY_PATH)
    };
    io::Error::last_os_error()
}

// SAFETY: libc defines it, with this type.
unsafe extern "C" {
    static environ: *const *const c_char;
}

/// Address of the arguments on the stack, stored before anything reads them.
static ARGUMENTS: AtomicPtr<*const c_char> = AtomicPtr::new(std::ptr::null_mut());

/// Notes where the arguments are, from the start of a program without the standard library's.
///
/// # Safety
/// `arguments` is what the kernel, and so the C library, gives `main`.
pub(crate) unsafe fn note_arguments(arguments: *mut *const c_char) {
    ARGUMENTS.store(arguments, Ordering::Relaxed);
}

/// Returns the arguments of the program, its name first.
pub fn arguments() -> Vec<OsString> {
    let mut next = ARGUMENTS.load(Ordering::Relaxed).cast_const();
    if next.is_null() {
        return std::env::args_os().collect();
    }
    let mut words = Vec::new();
    // SAFETY: an array of pointers to NUL-terminated strings that ends with a null pointer, as `main` has it; both stay for the
    // life of the process, and no other thread clears them.
    unsafe {
        while !(*next).is_null() {
            words.push(OsStr::from_bytes(CStr::from_ptr(*next).to_bytes()).to_owned());
            next = next.add(1);
        }
    }
    words
}

#[cfg(target_env = "gnu")]
#[used]
// SAFETY: glibc calls what this section points to before `main`, with these arguments.
#[unsafe(link_section = ".init_array")]
static NOTE_ARGUMENTS: extern "C" fn(c_int, *mut *const c_char, *mut *const c_char) = {
    extern "C" fn note(_count: c_int, arguments: *mut *const c_char, _environment: *mut *const c_char) {
        ARGUMENTS.store(arguments, Ordering::Relaxed);
    }
    note
};

/// Overwrites the arguments, the environment and the path of the program that the kernel shows of this process
/// (`/proc/PID/cmdline`, `environ`): they are the caller's, and a container must not read them. All arguments and variables
/// are empty strings then: in the child of a [`clone3`](super::process::clone3), which has no use for them and no thread that
/// reads them. In any other process nothing happens.
pub fn clear_arguments_and_environment() {
    let first = ARGUMENTS.load(Ordering::Relaxed);
    if first.is_null() || !super::process::is_child() {
        return;
    }
    // SAFETY: getauxval has no precondition.
    let program = unsafe { libc::getauxval(libc::AT_EXECFN) } as *mut c_char;
    // SAFETY: the kernel places the strings of argv, of envp and the path of the program one after the other; the pointers
    // are those it has passed, so the range lies within this process's stack mapping. Zeros keep every string in it
    // terminated, the standard library hands out copies only, and the child of a clone3 has one thread.
    unsafe {
        let start = (*first).cast_mut();
        if start.is_null() || program.is_null() || program < start {
            return;
        }
        let end = program.add(libc::strlen(program));
        std::ptr::write_bytes(start, 0, end.offset_from(start) as usize);
    }
}

/// The program's entry point, before that of the C library: a second run from here costs about 0.1 ms, from `main` 0.34
/// ms, because the first run touches a dozen pages only (no relocations, no libc start).
#[cfg(target_arch = "x86_64")]
mod entry {
    use core::arch::{asm, global_asm};
    use core::mem::MaybeUninit;

    global_asm!(
        ".globl croci_start",
        "croci_start:",
        "mov rdi, rsp",
        // twice, because the ABI requires a stack aligned to 16 bytes
        "push rdx",
        "push rdx",
        "call {protect}",
        "pop rdx",
        "pop rdx",
        "jmp _start",
        protect = sym protect,
    );

    /// Executes the binary again from a read-only clone of its mount, for the verbs that enter a container. After an
    /// error [`super::ensure_protected`] tries again and can report it.
    ///
    /// Relocations are not applied yet: this code uses no static with a pointer, nor memcpy and similar functions,
    /// which libc selects at start-up.
    unsafe extern "C" fn protect(stack: *const usize) {
        // SAFETY: the kernel starts a program with argc, the argv pointers, a null, the envp pointers, a null on its stack.
        // All pointers that are passed to the kernel point to constants, to that stack or to locals that outlive the call.
        unsafe {
            let count = *stack;
            let argv = stack.wrapping_add(1);
            if !enters_container(argv, count) {
                return;
            }
            let path = c"/proc/self/exe".as_ptr() as usize;
            // the second run: its path is "/", one byte
            const AT_FDCWD: usize = libc::AT_FDCWD as usize;
            let mut target = MaybeUninit::<[u8; 2]>::uninit();
            if call(libc::SYS_readlinkat, AT_FDCWD, path, target.as_mut_ptr() as usize, 2, 0) == 1 {
                return;
            }
            const CLONE: usize = 1 | libc::O_CLOEXEC as usize;
            let tree = call(libc::SYS_open_tree, AT_FDCWD, path, CLONE, 0, 0);
            if tree < 0 {
                return;
            }
            let empty = c"".as_ptr() as usize;
            // struct mount_attr: MOUNT_ATTR_RDONLY is set, nothing else changes
            static READ_ONLY: [u64; 4] = [1, 0, 0, 0];
            const EMPTY_PATH: usize = libc::AT_EMPTY_PATH as usize;
            let attributes = (&raw const READ_ONLY) as usize;
            if call(libc::SYS_mount_setattr, tree as usize, empty, EMPTY_PATH, attributes, 32) == 0 {
                let envp = argv.wrapping_add(count).wrapping_add(1);
                call(libc::SYS_execveat, tree as usize, empty, argv as usize, envp as usize, EMPTY_PATH);
            }
            call(libc::SYS_close, tree as usize, 0, 0, 0, 0);
        }
    }

    /// Returns whether an argument is a verb that puts a process into a container. A false match costs the second run
    /// only; a missing verb is protected by [`super::ensure_protected`].
    unsafe fn enters_container(argv: *const usize, count: usize) -> bool {
        let mut index = 1;
        while index < count {
            // SAFETY: argv has `count` pointers to NUL-terminated strings.
            unsafe {
                let word = *argv.wrapping_add(index) as *const u8;
                if is(word, c"create".as_ptr().cast())
                    || is(word, c"run".as_ptr().cast())
                    || is(word, c"exec".as_ptr().cast())
                    || is(word, c"restore".as_ptr().cast())
                    || is(word, c"mounts".as_ptr().cast())
                {
                    return true;
                }
            }
            index = index.wrapping_add(1);
        }
        false
    }

    unsafe fn is(word: *const u8, other: *const u8) -> bool {
        let mut index = 0;
        loop {
            // SAFETY: both are NUL-terminated, and the loop ends at the first NUL.
            let (one, two) = unsafe { (*word.wrapping_add(index), *other.wrapping_add(index)) };
            if one != two {
                return false;
            }
            if one == 0 {
                return true;
            }
            index = index.wrapping_add(1);
        }
    }

    /// Makes a system call; returns a negative errno on failure.
    unsafe fn call(number: i64, a: usize, b: usize, c: usize, d: usize, e: usize) -> isize {
        let result: isize;
        // SAFETY: the kernel preserves all registers but rax, rcx and r11; the caller vouches for the arguments.
        unsafe {
            asm!(
                "syscall",
                inlateout("rax") number as isize => result,
                in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e,
                lateout("rcx") _, lateout("r11") _,
                options(nostack),
            );
        }
        result
    }
}
