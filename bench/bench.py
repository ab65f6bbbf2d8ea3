#!/usr/bin/env python3
"""bench.py - interleaved lifecycle benchmarks of OCI runtimes (python3 stdlib only, root).

  bench.py [options] name=path [name=path ...]

  --view v1|v2|host   cgroup layout to show the runtimes, in a private mount namespace (host mounts untouched)
  --scenarios LIST    comma list of: startup,run,seccomp,steps,callers,exec,rss,seq,many,list,mounts   (default all)
  --n N               samples per runtime (default 50)      --warmup N (default 3)
  --seq N             containers in the sequential scenario (default 100), --seq-rounds (default 3)
  --many N            containers kept in 'many' (default 200)
  --list N            containers in 'list' (default 1000)
  --mounts LIST       extra host tmpfs mounts in 'mounts' (default 500,2000)
  --ref NAME          runtime the ratios refer to (default: crun if present, else the first)
  --rootfs DIR        rootfs holding a static busybox with true/sleep   (default: made from the host's busybox-static)
  --seccomp FILE      linux.seccomp, or a config.json that has one, for the 'seccomp' scenario (default: Docker's)
  --floor DIR         directory of floor, floor-exec and nothing, which join 'run', 'exec' and 'startup' as pseudo runtimes
  --json FILE         write every sample as json ('-' for stdout)
  --nice N            renice the bench (children inherit), e.g. -20 on a shared machine
  --wait-quiet LOAD   before each scenario wait until the 1-minute load is below LOAD (max --wait-max s)
  --pin CPUS          sched_setaffinity, e.g. 0 or 0,1
  name=path can carry extra global args:  'crun-nocg=/x/crun --cgroup-manager=disabled'
"""
import bundle
import argparse, ctypes, json, os, random, shlex, shutil, signal, statistics as st, sys, time, tempfile, re, subprocess

libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS = 0x20000; MS_REC = 16384; MS_PRIVATE = 1 << 18
def cmount(src, dst, typ, flags=0, data=None):
    e = lambda s: None if s is None else s.encode()
    if libc.mount(e(src), e(dst), e(typ), flags, e(data)) != 0:
        raise OSError(ctypes.get_errno(), f"mount {src} {dst} {typ}")

class RT:
    def __init__(self, name, cmd, base):
        self.name = name; parts = shlex.split(cmd); self.path = parts[0]; self.extra = parts[1:]
        self.root = os.path.join(base, "state-" + name); os.makedirs(self.root, exist_ok=True)
    def argv(self, *a): return [self.path, *self.extra, "--root", self.root, *a]

DEVNULL = [(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0), (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)]
ERRFILE = "/tmp/bench-peers-err.%d" % os.getpid()
FA = DEVNULL + [(os.POSIX_SPAWN_OPEN, 2, ERRFILE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)]
class Fail(Exception): pass
class Hung(Exception): pass
class Hang(Exception): pass
HANG_S = 20.0; BLOCK = set()
def _alrm(*a): raise Hang()
signal.signal(signal.SIGALRM, _alrm)
def call(argv, check=True, limit=None):
    """-> (wall_us, cpu_us (user+sys of the runtime and all it reaped), usr_us, sys_us, nvcsw, minflt)"""
    signal.setitimer(signal.ITIMER_REAL, limit or HANG_S)   # a runtime that hangs is killed, counted and the sample retried
    t0 = time.perf_counter_ns()
    pid = os.posix_spawn(argv[0], argv, os.environ, file_actions=FA, setsigmask=[signal.SIGCHLD] if argv[0] in BLOCK else [])
    try:
        _, status, ru = os.wait4(pid, 0)
    except Hang:
        os.kill(pid, 9); os.waitpid(pid, 0)
        raise Hung(" ".join(argv))
    t1 = time.perf_counter_ns()
    signal.setitimer(signal.ITIMER_REAL, 0)
    if check and status != 0:
        raise Fail(f"{' '.join(argv)}: status {status:#x}: {open(ERRFILE, errors='replace').read()[-400:]}")
    return ((t1 - t0) / 1e3, (ru.ru_utime + ru.ru_stime) * 1e6, ru.ru_utime * 1e6, ru.ru_stime * 1e6, ru.ru_nvcsw + ru.ru_nivcsw, ru.ru_minflt)

class Bench:
    def __init__(self, o, rts):
        self.o = o; self.rts = rts; self.dead = {}; self.hangs = {}; self.data = {}; self.serial = 0
        self.work = tempfile.mkdtemp(prefix="bench-peers-", dir=o.workdir)
        o.rootfs = o.rootfs or bundle.make_rootfs(self.work)
        self.b = {key: bundle.bundle(self.work, name, o.view, o.rootfs, o.seccomp) for key, name in (("true", "true"), ("sleep", "sleep"), ("sec", "seccomp"))}
        self.has_sec = bundle.seccomp_of(o.seccomp) is not None
    def cid(self, r): self.serial += 1; return f"bp{os.getpid()}-{r.name}-{self.serial}"
    def add(self, scen, metric, r, v): self.data.setdefault(scen, {}).setdefault(metric, {}).setdefault(r if isinstance(r, str) else r.name, []).append(v)
    def addcall(self, scen, r, m, prefix=""):
        for k, v in zip(("wall_us", "cpu_us", "usr_us", "sys_us", "ctxsw", "minflt"), m): self.add(scen, prefix + k, r, v)
    def live(self, scen): return [r for r in self.rts if (r.name, scen) not in self.dead]
    def each(self, scen, fn, n=None, warm=None):
        n = self.o.n if n is None else n; warm = self.o.warmup if warm is None else warm
        for i in range(-warm, n):
            rs = self.live(scen); random.shuffle(rs)
            for r in rs:
                try:
                    for attempt in range(4):
                        try: fn(r, i >= 0); break
                        except Hung as e:
                            self.hangs[(r.name, scen)] = self.hangs.get((r.name, scen), 0) + 1
                            if attempt == 3: raise Fail(f"hung 4 times in a row: {e}")
                except Fail as e:
                    self.dead[(r.name, scen)] = str(e); print(f"# {scen}: {r.name} dropped: {e}", file=sys.stderr)
    # --- helpers on a live container
    def create(self, r, cid, b="sleep"): 
        pf = os.path.join(self.work, "pid")
        m = call(r.argv("create", "--bundle", self.b[b], "--pid-file", pf, cid))
        return int(open(pf).read()), m
    def reap(self, pid, limit=10):
        t = time.time()
        while True:
            try:
                p, _ = os.waitpid(pid, os.WNOHANG)
                if p: return
            except ChildProcessError:
                if not os.path.exists(f"/proc/{pid}"): return
            if time.time() - t > limit: raise Fail(f"pid {pid} does not go away")
            time.sleep(0.0005)
    def destroy(self, r, cid, pid):
        try: os.kill(pid, 9); self.reap(pid)
        except (ProcessLookupError, Fail): pass
        call(r.argv("delete", "--force", cid), check=False)
    # --- scenarios
    def with_pseudo(self, name, command, scenario):
        """A program that is no runtime joins the scenario under this name."""
        if not self.o.floor: return scenario()
        self.rts.append(RT(name, f"{self.o.floor}/{command}", self.work))
        try: scenario()
        finally: self.rts.pop()
    def startup(self):
        def f(r, keep):
            m = call([r.path] if r.name == "nothing" else [r.path, "--version"])
            if keep: self.addcall("startup", r, m)
        self.with_pseudo("nothing", "nothing", lambda: self.each("startup", f))
    def run_with(self, scen, key, prefix=""):
        def f(r, keep):
            if r.name == "floor":
                m = call([r.path] + r.extra)
            else: m = call(r.argv("run", "--bundle", self.b[key], self.cid(r)))
            if keep: self.addcall(scen, r, m, prefix)
        self.each(scen, f)
    def run(self):
        self.with_pseudo("floor", f"floor -q -r {self.o.rootfs} -m {self.o.view} -j {'into' if self.o.view == 'v2' else 'tasks'}", lambda: self.run_with("run", "true"))
    def seccomp(self):
        if not self.has_sec: raise SystemExit(f"bench.py: no seccomp profile at {self.o.seccomp}: give --seccomp FILE")
        self.run_with("seccomp", "sec")
    def mounts(self):
        d = os.path.join(self.work, "mounts"); os.makedirs(d, exist_ok=True); cmount("tmpfs", d, "tmpfs")
        made = 0
        try:
            for n in sorted(int(n) for n in self.o.mounts.split(",")):
                while made < n:
                    os.mkdir(f"{d}/{made}"); cmount("tmpfs", f"{d}/{made}", "tmpfs"); made += 1
                self.run_with("mounts", "true", f"{n}.")
        finally: libc.umount2(d.encode(), 2)
    def callers(self):
        """create as conmon and containerd's shim call it."""
        def f(r, keep):
            cid = self.cid(r); pf = os.path.join(self.work, "pid"); pid = None
            try:
                m = call(r.argv("--log", os.path.join(self.work, "log.json"), "--log-format", "json", "create", "--bundle", self.b["sleep"], "--pid-file", pf, cid))
                pid = int(open(pf).read())
            finally:
                if pid: self.destroy(r, cid, pid)
            if keep: self.addcall("callers", r, m)
        self.each("callers", f)
    def list(self):
        made = []
        try:
            for r in self.live("list"):
                try:
                    for i in range(self.o.list):
                        cid = self.cid(r); pid, _ = self.create(r, cid); made.append((r, cid, pid))
                except (Fail, Hung) as e: self.dead[(r.name, "list")] = str(e); print(f"# list: {r.name} dropped: {e}", file=sys.stderr)
            def f(r, keep):
                m = call(r.argv("list"))
                if keep: self.addcall("list", r, m)
            self.each("list", f, n=min(self.o.n, 40))
        finally:
            for r, cid, pid in made: self.destroy(r, cid, pid)
    def steps(self):
        def f(r, keep):
            cid = self.cid(r); ms = {}; pid = None
            try:
                pid, ms["create"] = self.create(r, cid)
                ms["start"] = call(r.argv("start", cid)); ms["state"] = call(r.argv("state", cid))
                ms["kill"] = call(r.argv("kill", cid, "KILL")); self.reap(pid); pid = None
                ms["delete"] = call(r.argv("delete", cid))
            finally:
                if pid: self.destroy(r, cid, pid)
            if keep:
                for k, m in ms.items(): self.addcall("steps", r, m, k + ".")
                self.add("steps", "sum.wall_us", r, sum(m[0] for m in ms.values())); self.add("steps", "sum.cpu_us", r, sum(m[1] for m in ms.values()))
        self.each("steps", f)
    def exec_(self):
        c = {}
        try:
            for r in self.live("exec"):
                try:
                    cid = self.cid(r); pid, _ = self.create(r, cid); c[r.name] = (r, cid, pid); call(r.argv("start", cid))
                except Fail as e: self.dead[(r.name, "exec")] = str(e); print(f"# exec: {r.name} dropped: {e}", file=sys.stderr)
            target = next(iter(c.values()), None)
            def f(r, keep):
                m = call([r.path, str(target[2]), "/bin/true"] if r.name == "floor" else r.argv("exec", c[r.name][1], "true"))
                if keep: self.addcall("exec", r, m)
            if target: self.with_pseudo("floor", "floor-exec", lambda: self.each("exec", f))
        finally:
            for r, cid, pid in c.values(): self.destroy(r, cid, pid)
    def rss(self):
        def maxrss(argv):
            with open(ERRFILE, "w") as ef:      # not a pipe: a detached container would keep it open
                p = subprocess.run(["/usr/bin/time", "-q", "-o", self.work + "/t", "-f", "%M", *argv], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=ef)
            if p.returncode: raise Fail(open(ERRFILE, errors="replace").read()[-300:])
            return int(open(self.work + "/t").read().split()[-1])
        def mem(pid):
            d = {}
            for l in open(f"/proc/{pid}/smaps_rollup"):
                m = re.match(r"(\w+):\s+(\d+) kB", l)
                if m: d[m[1]] = int(m[2])
            return d["Rss"], d["Pss"], d.get("Private_Dirty", 0) + d.get("Private_Clean", 0)
        def du(p): return sum(os.lstat(os.path.join(a, f)).st_size for a, _, fs in os.walk(p) for f in fs)
        def f(r, keep):
            m = {"run.maxrss_kb": maxrss(r.argv("run", "--bundle", self.b["true"], self.cid(r)))}
            cid = self.cid(r); pf = self.work + "/pid"; pid = None
            try:
                before = set(os.listdir("/proc"))
                m["create.maxrss_kb"] = maxrss(r.argv("create", "--bundle", self.b["sleep"], "--pid-file", pf, cid)); pid = int(open(pf).read())
                m["created.init_rss_kb"], m["created.init_pss_kb"], m["created.init_private_kb"] = mem(pid)
                ch = [p for p in os.listdir("/proc") if p.isdigit() and p not in before and int(p) != pid]
                mine = []
                for p in ch:
                    try:
                        if os.readlink(f"/proc/{p}/exe").split(" ")[0] == os.path.realpath(r.path): mine.append(p)
                    except OSError: pass
                m["created.other_procs"] = len(mine)
                m["start.maxrss_kb"] = maxrss(r.argv("start", cid)); time.sleep(0.02)
                m["running.init_rss_kb"], m["running.init_pss_kb"], m["running.init_private_kb"] = mem(pid)
                m["exec.maxrss_kb"] = maxrss(r.argv("exec", cid, "true"))
                m["state.maxrss_kb"] = maxrss(r.argv("state", cid))
                m["running.state_dir_bytes"] = du(r.root + "/" + cid)
            finally:
                if pid: self.destroy(r, cid, pid)
            m["binary_bytes"] = os.stat(r.path).st_size
            if keep:
                for k, v in m.items(): self.add("rss", k, r, v)
        self.each("rss", f, n=min(5, self.o.n), warm=1)
    def seq(self):
        def f(r, keep):
            sh = f'i=0; while [ $i -lt {self.o.seq} ]; do {" ".join(map(shlex.quote, r.argv("run", "--bundle", self.b["true"])))} {self.cid(r)}-$i </dev/null || exit 1; i=$((i+1)); done'
            m = call(["/bin/sh", "-c", sh], limit=300)
            if keep: self.addcall("seq", r, m)
        self.each("seq", f, n=self.o.seq_rounds, warm=0)
    def many(self):
        N = self.o.many
        for r in self.live("many"):
            cs = []; ok = True
            try:
                t0 = time.perf_counter()
                for i in range(N):
                    cid = self.cid(r); pid, m1 = self.create(r, cid); cs.append((cid, pid)); m2 = call(r.argv("start", cid))
                    self.add("many", "up_each_us", r, m1[0] + m2[0]); self.add("many", "up_each_cpu_us", r, m1[1] + m2[1])
                t1 = time.perf_counter()
                self.add("many", "state_at_full_us", r, call(r.argv("state", cs[N // 2][0]))[0])
                t2 = time.perf_counter()
                for cid, pid in list(cs):
                    m1 = call(r.argv("kill", cid, "KILL")); self.reap(pid); m2 = call(r.argv("delete", cid)); cs.remove((cid, pid))
                    self.add("many", "down_each_us", r, m1[0] + m2[0])
                t3 = time.perf_counter()
                self.add("many", "up_total_s", r, t1 - t0); self.add("many", "down_total_s", r, t3 - t2)
            except (Fail, Hung) as e:
                self.dead[(r.name, "many")] = str(e); print(f"# many: {r.name} dropped: {e}", file=sys.stderr)
            finally:
                for cid, pid in cs: self.destroy(r, cid, pid)
        d = self.data.get("many", {})
        for k in ("up_each_us", "up_each_cpu_us", "down_each_us"):
            for name, v in d.get(k, {}).items():
                q = max(1, len(v) // 10)
                self.add("many", k.replace("each", "first10pct_med"), name, st.median(v[:q])); self.add("many", k.replace("each", "last10pct_med"), name, st.median(v[-q:]))
    # --- report
    def report(self, out=sys.stdout):
        ref = self.o.ref
        names = [r.name for r in self.rts]
        want = {"startup": ["wall_us", "cpu_us"], "run": ["wall_us", "cpu_us", "usr_us", "sys_us", "ctxsw", "minflt"], "seccomp": ["wall_us", "cpu_us"], "exec": ["wall_us", "cpu_us"], "seq": ["wall_us", "cpu_us", "usr_us", "sys_us"]}
        for scen, ms in self.data.items():
            print(f"\n== {scen} (view {self.o.view})", file=out)
            keys = want.get(scen) or [k for k in ms if not re.search(r"(usr_us|sys_us|ctxsw|minflt)$", k)]
            for k in keys:
                if k not in ms: continue
                rv = ms[k].get(ref); rmed = st.median(rv) if rv else None
                for nm in sorted(ms[k], key=lambda x: names.index(x) if x in names else -1):
                    v = ms[k][nm]; med = st.mean(v) if k.endswith(("usr_us", "sys_us")) else st.median(v)
                    ratio = f"{med / rmed:6.2f}x (min {min(v) / min(rv):5.2f}x)" if rmed and min(rv) else "   -   "
                    lab = "mean" if k.endswith(("usr_us", "sys_us")) else "med"
                    print(f"{k:28s} {nm:14s} {lab} {med:12.1f}  min {min(v):12.1f}  p90 {sorted(v)[min(len(v) - 1, int(len(v) * .9))]:12.1f}  n={len(v):<4d} vs {ref} {ratio}", file=out)

def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("runtimes", nargs="+"); ap.add_argument("--view", choices=["v1", "v2", "host"], default="v2")
    ap.add_argument("--scenarios", default="startup,run,seccomp,steps,callers,exec,rss,seq,many,list,mounts")
    for a, d in (("n", 50), ("warmup", 3), ("seq", 100), ("seq-rounds", 3), ("many", 200), ("list", 1000)): ap.add_argument("--" + a, type=int, default=d)
    ap.add_argument("--ref"); ap.add_argument("--rootfs"); ap.add_argument("--seccomp", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "docker-seccomp.json"))
    ap.add_argument("--floor"); ap.add_argument("--mounts", default="500,2000"); ap.add_argument("--json"); ap.add_argument("--nice", type=int); ap.add_argument("--pin"); ap.add_argument("--workdir", default="/run", help="state and bundles live on a private tmpfs mounted here")
    ap.add_argument("--block-sigchld", default="", help="comma list of runtimes to start with SIGCHLD blocked"); ap.add_argument("--hang", type=float, default=20.0, help="seconds after which a runtime counts as hung"); ap.add_argument("--wait-quiet", type=float); ap.add_argument("--wait-max", type=float, default=600)
    o = ap.parse_args()
    global HANG_S; HANG_S = o.hang
    names = [x.split("=", 1)[0] for x in o.runtimes]; o.ref = o.ref or ("crun" if "crun" in names else names[0])
    libc.prctl(36, 1, 0, 0, 0)                    # PR_SET_CHILD_SUBREAPER: we reap detached containers as a monitor would
    if libc.unshare(CLONE_NEWNS): raise OSError("unshare")
    cmount(None, "/", None, MS_REC | MS_PRIVATE)
    if o.view == "v1" and os.path.ismount("/sys/fs/cgroup/unified"): 
        libc.umount2(b"/sys/fs/cgroup/unified", 2); cmount("none", "/sys/fs/cgroup/unified", "tmpfs")  # crun writes below it all the same
    if o.view == "v2" and not os.path.exists("/sys/fs/cgroup/cgroup.controllers"): cmount("cgroup2", "/sys/fs/cgroup", "cgroup2")
    if o.nice is not None: os.setpriority(os.PRIO_PROCESS, 0, o.nice)
    if o.pin: os.sched_setaffinity(0, {int(c) for c in o.pin.split(",")})
    cmount("tmpfs", o.workdir, "tmpfs", 2 | 4, "mode=755")      # /run as a tmpfs, as on any real host; private to this bench
    base = tempfile.mkdtemp(prefix="bench-peers-st-", dir=o.workdir)
    rts = [RT(*x.split("=", 1), base) for x in o.runtimes]
    BLOCK.update(r.path for r in rts if r.name in o.block_sigchld.split(","))
    b = Bench(o, rts); loads = {}
    try:
        for s in o.scenarios.split(","):
            if o.wait_quiet:
                t = time.time()
                while os.getloadavg()[0] > o.wait_quiet and time.time() - t < o.wait_max: time.sleep(2)
            loads[s] = [os.getloadavg()[0]]; t = time.time()
            b.each.__self__; getattr(b, {"exec": "exec_"}.get(s, s))(); loads[s].append(os.getloadavg()[0]); loads[s].append(round(time.time() - t, 1)); print(f"# {s}: {loads[s][2]} s, load {loads[s][0]:.1f} -> {loads[s][1]:.1f}, hangs {dict(b.hangs)}", file=sys.stderr, flush=True)
        b.report()
        print("\nload average before/after, seconds per scenario:", loads)
        if b.hangs: print("hangs (killed after %gs, sample retried):" % HANG_S, {"/".join(k): v for k, v in b.hangs.items()})
        if b.dead: print("dropped:", {f"{k[0]}/{k[1]}": v[:160] for k, v in b.dead.items()})
    finally:
        if o.json:
            d = json.dumps({"view": o.view, "loads": loads, "hangs": {"/".join(k): v for k, v in b.hangs.items()}, "dropped": {"/".join(k): v for k, v in b.dead.items()}, "n": o.n, "runtimes": {r.name: r.path for r in rts}, "samples": b.data})
            print(d) if o.json == "-" else open(o.json, "w").write(d)
        shutil.rmtree(b.work, ignore_errors=True); shutil.rmtree(base, ignore_errors=True)
        try: os.unlink(ERRFILE)
        except OSError: pass
signal.signal(signal.SIGTERM, lambda *a: sys.exit(143))
main()
