//! The thread that sends the notification descriptor of a filter, because a filter that notifies of sendmsg(2) would
//! stop the thread which it binds before the agent has the descriptor.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};

/// Size of the thread's stack in bytes: for three system calls in an unoptimised build.
const STACK_BYTES: usize = 64 * 1024;
/// There is no descriptor yet.
const WAITING: RawFd = -1;
/// There will be none.
const CANCELLED: RawFd = -2;

/// A thread of this process that waits for a descriptor, sends it over a socket and closes it here.
///
/// It is a bare thread of the kernel: it shares the memory and the thread-local storage of its creator, so it makes only
/// system calls that succeed (a failed one would change the creator's errno) and allocates nothing. Its memory is never
/// freed, because no call of the creator, which the filter binds, could find out that it has ended; an execve(2) frees it.
#[derive(Debug)]
pub struct Handover(&'static Shared);

/// What both threads see.
#[derive(Debug)]
struct Shared {
    /// The descriptor to send, or [`WAITING`], or [`CANCELLED`].
    descriptor: AtomicI32,
    /// The socket to send it over.
    socket: RawFd,
    /// The bytes to send with it.
    message: [u8; 1],
}

impl Handover {
    /// Starts the thread; it sends one message of the byte `message` over `socket`.
    ///
    /// # Errors
    /// `EAGAIN`: a limit of processes is reached, or the scheduling policy of this thread is SCHED_DEADLINE; `ENOMEM`.
    pub fn start(socket: BorrowedFd<'_>, message: u8) -> io::Result<Handover> {
        let shared: &'static Shared = Box::leak(Box::new(Shared {
            descriptor: AtomicI32::new(WAITING),
            socket: socket.as_raw_fd(),
            message: [message],
        }));
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK;
        // SAFETY: a new anonymous mapping; no existing memory is touched.
        let stack = unsafe { libc::mmap(ptr::null_mut(), STACK_BYTES, protection, kind, -1, 0) };
        if stack == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let flags = libc::CLONE_VM
            | libc::CLONE_FS
            | libc::CLONE_FILES
            | libc::CLONE_SIGHAND
            | libc::CLONE_THREAD
            | libc::CLONE_SYSVSEM;
        // SAFETY: the stack is this thread's alone and grows down from its aligned end; `shared` lives for ever. The
        // function makes system calls only, so that the thread-local storage, which both threads share, is not changed.
        unsafe {
            let top = stack.cast::<u8>().add(STACK_BYTES).cast();
            clone_thread(top, flags, ptr::from_ref(shared).cast_mut().cast())?;
        }
        Ok(Handover(shared))
    }

    /// Hands over `descriptor`, which the thread then owns. Makes no system call.
    pub(super) fn give(self, descriptor: RawFd) {
        self.0.descriptor.store(descriptor, Ordering::Release);
        // the thread must wait no longer for what has been given
        std::mem::forget(self);
    }
}

impl Drop for Handover {
    fn drop(&mut self) {
        self.0.descriptor.store(CANCELLED, Ordering::Release);
    }
}

/// Runs [`send`] in a new thread. By the system call itself, because musl's clone(3) refuses `CLONE_THREAD`.
///
/// # Errors
/// As clone(2).
///
/// # Safety
/// As clone(2): `top` is the aligned end of memory that only the thread uses, and `shared` is valid for [`send`].
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
unsafe fn clone_thread(top: *mut libc::c_void, flags: libc::c_int, shared: *mut libc::c_void) -> io::Result<()> {
    let answer: isize;
    // SAFETY: by the caller's promise. The thread never leaves the assembly: it has registers and a stack of its own,
    // calls the function and ends by exit(2), which ends it alone.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "mov edi, eax",
            "mov eax, {exit}",
            "syscall",
            "ud2",
            "2:",
            exit = const libc::SYS_exit,
            inlateout("rax") libc::SYS_clone as isize => answer,
            in("rdi") flags as isize,
            in("rsi") top,
            in("rdx") 0,
            in("r10") 0,
            in("r8") 0,
            in("r12") shared,
            in("r13") send as extern "C" fn(*mut libc::c_void) -> libc::c_int,
            out("rcx") _,
            out("r11") _,
        );
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        std::arch::asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x0, x20",
            "blr x21",
            "mov x8, {exit}",
            "svc 0",
            "brk 1",
            "2:",
            exit = const libc::SYS_exit,
            inlateout("x0") flags as isize => answer,
            in("x1") top,
            in("x2") 0,
            in("x3") 0,
            in("x4") 0,
            in("x8") libc::SYS_clone,
            in("x20") shared,
            in("x21") send as extern "C" fn(*mut libc::c_void) -> libc::c_int,
        );
    }
    if answer < 0 { Err(io::Error::from_raw_os_error(-answer as i32)) } else { Ok(()) }
}

/// As above, by the C library.
///
/// # Errors
/// As clone(2); `EINVAL` from musl.
///
/// # Safety
/// As clone(2).
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
unsafe fn clone_thread(top: *mut libc::c_void, flags: libc::c_int, shared: *mut libc::c_void) -> io::Result<()> {
    // SAFETY: by the caller's promise.
    super::super::cvt(libc::c_long::from(unsafe { libc::clone(send, top, flags, shared) })).map(drop)
}

/// The whole of the thread. Returning from it ends the thread alone.
extern "C" fn send(shared: *mut libc::c_void) -> libc::c_int {
    // SAFETY: the pointer is that of `start`, to a value that is never freed.
    let shared = unsafe { &*shared.cast::<Shared>() };
    let descriptor = loop {
        match shared.descriptor.load(Ordering::Acquire) {
            // SAFETY: sched_yield(2) touches no memory and never fails.
            WAITING => _ = unsafe { libc::syscall(libc::SYS_sched_yield) },
            other => break other,
        }
    };
    if descriptor == CANCELLED {
        return 0;
    }
    // one descriptor after the header, aligned as the header is
    #[repr(C)]
    struct Control(libc::cmsghdr, RawFd);
    let mut bytes = libc::iovec { iov_base: shared.message.as_ptr().cast_mut().cast(), iov_len: 1 };
    // SAFETY: all zeroes are a valid value of both structures.
    let (mut header, mut message) = unsafe { std::mem::zeroed::<(libc::cmsghdr, libc::msghdr)>() };
    header.cmsg_level = libc::SOL_SOCKET;
    header.cmsg_type = libc::SCM_RIGHTS;
    header.cmsg_len = (size_of::<libc::cmsghdr>() + size_of::<RawFd>()) as _;
    let mut control = Control(header, descriptor);
    message.msg_iov = &raw mut bytes;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut control).cast();
    message.msg_controllen = size_of::<Control>() as _;
    // by number, because the library's functions may change the thread-local storage (cancellation)
    // SAFETY: every pointer is to memory that lives through the call. The descriptor is this thread's to close; the
    // socket stays open as long as the creator waits for an answer.
    unsafe {
        libc::syscall(libc::SYS_sendmsg, shared.socket, &raw const message, libc::MSG_NOSIGNAL);
        libc::syscall(libc::SYS_close, descriptor);
    }
    0
}
