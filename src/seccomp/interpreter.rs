//! An interpreter of filters: returns the verdict for a call and the number of instructions.

use libc::sock_filter;

/// `struct seccomp_data`.
#[allow(unreachable_pub, reason = "fuzz targets use it")]
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// The audit value of the ABI.
    pub arch: u32,
    /// The number of the system call.
    pub number: u32,
    /// The arguments.
    pub args: [u64; 6],
}

/// Runs `program` and returns the verdict and the number of instructions; `None` where the kernel would refuse the
/// program.
pub(super) fn run(program: &[sock_filter], call: &Call) -> Option<(u32, usize)> {
    let mut accumulator = 0u32;
    let mut at = 0usize;
    for steps in 1.. {
        let one = program.get(at)?;
        at += 1;
        let code = u32::from(one.code);
        let jump = |yes: bool| usize::from(if yes { one.jt } else { one.jf });
        match code {
            _ if code == libc::BPF_LD | libc::BPF_W | libc::BPF_ABS => accumulator = word(call, one.k)?,
            _ if code == libc::BPF_ALU | libc::BPF_AND | libc::BPF_K => accumulator &= one.k,
            _ if code == libc::BPF_RET | libc::BPF_K => return Some((one.k, steps)),
            _ if code == libc::BPF_JMP | libc::BPF_JA => at += one.k as usize,
            _ if code == libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K => at += jump(accumulator == one.k),
            _ if code == libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K => at += jump(accumulator >= one.k),
            _ if code == libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K => at += jump(accumulator > one.k),
            _ if code == libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K => at += jump(accumulator & one.k != 0),
            _ => return None,
        }
    }
    None
}

fn word(call: &Call, offset: u32) -> Option<u32> {
    match offset {
        0 => Some(call.number),
        4 => Some(call.arch),
        16..64 if offset.is_multiple_of(4) => {
            let arg = call.args.get((offset as usize - 16) / 8)?;
            Some(if offset.is_multiple_of(8) { *arg as u32 } else { (arg >> 32) as u32 })
        }
        _ => None,
    }
}
