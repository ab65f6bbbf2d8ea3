#!/usr/bin/env python3
"""order.py CROCI MAP - writes src/order.ld: the functions that croci's verbs run, in the order in which they run first.

CROCI is an unstripped release, MAP the linker's map of it (root, python3 and nm only):

  cargo rustc --locked --release --target x86_64-unknown-linux-musl -p croci --bin croci -- -C strip=none -C link-arg=-Map=/tmp/map

A breakpoint at the start of each function, removed when it is hit, finds what runs: in the verb itself, in what it clones, not in
the container's program. Names without the compiler's hash, so that the list fits other versions of the code as well as it can; a
function that is missing costs a page fault and no more.
"""
import bisect, collections, ctypes, os, re, shutil, subprocess, sys, tempfile

import bundle, tracer

# offset of the instruction pointer among the registers that PEEKUSER reads, x86-64
RIP = 128
HERE = os.path.dirname(os.path.abspath(__file__))


class Breakpoints(tracer.Tracer):
    """`hits` gets the offsets of functions in the order of their first run."""

    def __init__(self, starts, hits):
        self.starts, self.hits, self.seen, self.old = starts, hits, set(hits), {}

    def on_exec(self, pid):
        with open(f"/proc/{pid}/maps") as maps:
            # the first mapping of a file is that of the program
            self.at = next(int(line.split("-")[0], 16) for line in maps if line.split()[4] != "0")
        with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
            for start in self.starts:
                memory.seek(self.at + start)
                self.old[start] = memory.read(1)
                memory.seek(self.at + start)
                memory.write(b"\xcc")

    def on_trap(self, pid):
        rip = tracer.ptrace(tracer.PEEKUSER, pid, RIP) - 1
        start = rip - self.at
        if start not in self.old:
            return False
        with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
            memory.seek(rip)
            memory.write(self.old[start])
        tracer.ptrace(tracer.POKEUSER, pid, RIP, rip)
        if start not in self.seen:
            self.seen.add(start)
            self.hits.append(start)
        return True

    def on_leave(self, pid):
        with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
            for start, byte in self.old.items():
                memory.seek(self.at + start)
                memory.write(byte)


def functions(croci):
    """Offset -> (size, names)."""
    found = collections.defaultdict(lambda: [0, []])
    for line in subprocess.run(["nm", "-S", "--defined-only", croci], capture_output=True, text=True, check=True).stdout.splitlines():
        words = line.split()
        if len(words) == 4 and words[2] in "tTwWi":
            entry = found[int(words[0], 16)]
            entry[0] = max(entry[0], int(words[1], 16))
            entry[1].append(words[3])
    return found


def inputs(map_file):
    """Sorted list of (address, size, file, section) of the input sections with code."""
    found, current = [], ""
    for line in open(map_file):
        match = re.match(r"\s*([0-9a-f]+)\s+[0-9a-f]+\s+([0-9a-f]+)\s+\d+ ( *)(.*)$", line)
        if not match:
            continue
        indent, name = len(match[3]), match[4]
        if indent == 0:
            current = name
        elif indent == 8 and current.startswith(".text"):
            place = re.match(r"(.*):\((.*)\)$", name)
            if place:
                found.append((int(match[1], 16), int(match[2], 16), place[1], place[2]))
    return sorted(found)


def stem(section):
    """The section's name without the compiler's hashes and numbers."""
    section = re.sub(r"17h[0-9a-f]{16}E", "17h*E", section)
    section = re.sub(r"\.\d+$", ".*", section)
    return re.sub(r"Cs[0-9a-zA-Z]+_", "Cs*_", section)


def enter_v2():
    """Gives this process a mount namespace with cgroup v2 alone."""
    if ctypes.CDLL(None, use_errno=True).unshare(0x20000) != 0:
        sys.exit("unshare: " + os.strerror(ctypes.get_errno()))
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "-t", "cgroup2", "cgroup2", "/sys/fs/cgroup"], check=True)


def verbs(croci, work, view):
    """Yields the command line of each verb, to be run in turn."""
    root = ["--root", work + "/state"]
    plain, sleeping, filtered = (bundle.bundle(work, name, view) for name in ("true", "sleep", "seccomp"))
    yield [croci, "--version"]
    for name in "ab":
        yield [croci, *root, "create", "--bundle", sleeping, "--pid-file", work + "/pid-" + name, name]
        yield [croci, *root, "start", name]
    yield [croci, *root, "state", "a"]
    yield [croci, *root, "list"]
    yield [croci, *root, "exec", "a", "true"]
    for name in "ab":
        yield [croci, *root, "kill", name, "KILL"]
        yield [croci, *root, "delete", "--force", name]
    yield [croci, *root, "run", "--bundle", plain, "c"]
    yield [croci, *root, "run", "-b", plain, "c"]
    yield [croci, *root, "--log", work + "/log", "--log-format", "json", "run", "--bundle", filtered, "d"]


def main():
    croci, map_file = map(os.path.abspath, sys.argv[1:3])
    code, places = functions(croci), inputs(map_file)
    addresses = [place[0] for place in places]
    work = tempfile.mkdtemp(prefix="croci-order-", dir="/run")
    hits = []
    try:
        for view in ("host", "v2"):
            if view == "v2":
                enter_v2()
            for argv in verbs(croci, os.path.join(work, view), view):
                status = Breakpoints(list(code), hits).run(argv)
                print(" ".join(argv[1:]), "->", status, len(hits), file=sys.stderr)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    hot, lines, done, size = {}, [], set(), 0
    for start in hits:
        place = places[bisect.bisect_right(addresses, start) - 1]
        # the linker folds equal functions within one output section only, so that all names of one have to be in the same
        hot.setdefault(place, []).extend(f".text.{name}" for name in code[start][1])
    bytes_of, hot_of = collections.Counter(), collections.Counter()
    for place in places:
        bytes_of[stem(place[3])] += place[1]
    for place in hot:
        hot_of[stem(place[3])] += place[1]
    for (_, length, file, section), names in hot.items():
        if section == ".text" and not file.endswith(")"):
            continue
        size += length
        for name in dict.fromkeys([section, *names]):
            archive = re.search(r"([^/]+\.a)\(([^)]+)\)$", file)
            # small ones of the same name come along, because their hashes change with the code
            alike = bytes_of[stem(name)] <= max(2 * hot_of[stem(name)], 512)
            if archive:
                pattern = f"*{archive[1]}:{archive[2]}({section})"
            else:
                pattern = f"*({stem(name) if alike else name})"
            if pattern not in done:
                done.add(pattern)
                lines.append(pattern)
    with open(os.path.join(HERE, "..", "src", "order.ld"), "w") as out:
        out.write("/* What the verbs run, in the order in which it runs first: made by bench/order.py. Without it the same code is spread\n"
                  "   over all of the program, and each 64 KiB of it that are touched cost a page fault and are resident. */\n"
                  "SECTIONS { .text_hot : {\n" + "".join(f"{line}\n" for line in lines) + "} } INSERT BEFORE .text;\n")
    print(f"{len(hits)} functions, {len(lines)} patterns, {size} bytes", file=sys.stderr)


main()
