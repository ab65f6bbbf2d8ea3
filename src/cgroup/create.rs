//! Creation of a container's cgroup: directories, controllers, limits, devices, owner.
//!
//! On failure croci removes the directories that it created. A cgroup that existed before stays, with the limits that
//! were written to it.

use base::coded;
use base::error::{Code, Coding as _, HasErrno as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::{fs, io};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use nix::unistd::{AccessFlags, access};

use super::device::DeviceList;
use super::files::{self, is_gone, read, try_read, try_write, write, write_context};
use super::plan::OnPermissionDenied;
use super::resources::Setting;
use super::{Cgroup, CgroupDir, CgroupPlan, CgroupRecord, ancestor_limits, apply, parents, systemd};
use linux::bpf;

/// Most attempts to create a directory whose parents the deletion of other containers removes at the same time.
const ATTEMPTS: usize = 100;

/// Errors of mkdir(2) for a caller without permission to create a cgroup.
const DENIED: &[i32] = &[libc::EACCES, libc::EPERM, libc::EROFS];

/// Sets `created_depth` of each directory of the plan from what exists, so that the journal has it before croci creates
/// anything. One access(2) a hierarchy when the parent exists.
pub(crate) fn probe_existing(plan: &mut CgroupPlan) -> Result<()> {
    let path = plan.record.path.clone();
    plan.record.dirs.iter_mut().for_each(|dir| dir.created_depth = missing(dir, &path));
    Ok(())
}

/// Returns the number of trailing components of `path` that do not exist in a hierarchy.
fn missing(dir: &CgroupDir, path: &str) -> usize {
    let (mut rest, mut count) = (path, 0);
    while !rest.is_empty() && access(format!("{}{rest}", dir.mount).as_str(), AccessFlags::F_OK).is_err() {
        count += 1;
        rest = rest.rsplit_once('/').map_or("", |(parent, _)| parent);
    }
    count
}

/// Writes the journal again with what croci has to create now, which is more than planned.
pub(crate) type Journal<'a> = &'a mut dyn FnMut(&CgroupRecord) -> Result<()>;

/// Creates the cgroup of a plan that [`probe_existing`] has completed, and writes all but the deferred settings
/// ([`Cgroup::apply_deferred`]). Each directory that fails with a permission error is skipped if the plan allows it.
///
/// Calls `journal` before it creates parents that existed when the plan was completed, because the deletion of other
/// containers can remove them meanwhile.
///
/// # Errors
/// A directory or setting that the kernel or systemd refuses; what croci created is removed.
pub(crate) fn create(plan: &CgroupPlan, journal: Journal<'_>) -> Result<Cgroup> {
    if let (Some(wanted), Some(scope)) = (&plan.scope, &plan.record.scope) {
        let (placeholder, record) = systemd::start(scope, wanted, &plan.record)?;
        return match configure_scope(&CgroupPlan { record, ..plan.clone() }, journal) {
            Ok(mut cgroup) => {
                cgroup.placeholder = Some(placeholder);
                Ok(cgroup)
            }
            Err(err) => {
                drop(placeholder);
                let _ = systemd::stop(scope);
                Err(err)
            }
        };
    }
    let mut work = Work { created: Vec::new(), journaled: plan.record.clone(), journal };
    let mut record = plan.record.clone();
    record.dirs.clear();
    for dir in &plan.record.dirs {
        let mut dir = dir.clone();
        match create_directory(&mut dir, plan, &mut work) {
            Ok(()) => record.dirs.push(dir),
            Err(err) if err.is_errno(DENIED) && may_skip(&dir, plan) => {}
            Err(err) => return Err(err),
        }
    }
    let cgroup = configure(plan, &record)?;
    work.created.clear();
    Ok(cgroup)
}

/// Configures the cgroup of a scope that systemd has just created at the path of the plan's record. Creates the
/// directories in v1 hierarchies that systemd does not use.
fn configure_scope(plan: &CgroupPlan, journal: Journal<'_>) -> Result<Cgroup> {
    let mut work = Work { created: Vec::new(), journaled: plan.record.clone(), journal };
    let mut record = plan.record.clone();
    for dir in &mut record.dirs {
        let path = plan.record.path_in(dir);
        if access(path.as_str(), AccessFlags::F_OK).is_ok() {
            dir.created_depth = 1; // systemd removes its slices
        } else {
            create_directory(dir, plan, &mut work)?;
        }
    }
    if record.is_pure_v2() {
        let path = plan.record.dirs.first().map(|dir| plan.record.path_in(dir)).unwrap_or_default();
        Controllers::read(&path, plan)?.check(&path)?;
    }
    let cgroup = configure(plan, &record)?;
    work.created.clear();
    if let (true, Some(path)) = (plan.settings.iter().any(|setting| setting.deferred), cgroup.unified_path()) {
        // init and the placeholder, until the deferred limit is written
        write(&format!("{path}/pids.max"), "2")?;
    }
    Ok(cgroup)
}

/// Writes limits, device rules and owner into the directories of `record`; not the deferred settings.
fn configure(plan: &CgroupPlan, record: &CgroupRecord) -> Result<Cgroup> {
    let mut cgroup = Cgroup::open(record);
    cgroup.warnings = ancestor_limits::warnings(record, &plan.settings);
    for dir in record.dirs.iter().filter(|dir| dir.has("cpuset")) {
        fill_cpuset(dir, plan)?;
    }
    apply::apply(&cgroup, cgroup.settings(plan, false), plan.check_before_update)?;
    if let Some(devices) = &plan.devices {
        restrict_devices(&cgroup, devices).context("linux.resources.devices")?;
    }
    if let (Some(uid), Some(path)) = (plan.delegate, cgroup.unified_path()) {
        delegate(&path, uid)?;
    }
    if plan.on_permission_denied != OnPermissionDenied::Fail {
        cgroup.warnings.extend(cgroup.skipped_warning(plan));
    }
    Ok(cgroup)
}

impl Cgroup {
    /// Writes the limits that would have prevented the clone of init or delayed its work. Call it after those, before the
    /// program runs.
    pub(crate) fn apply_deferred(&mut self, plan: &CgroupPlan) -> Result<()> {
        self.end_placeholder();
        apply::apply(self, self.settings(plan, true), false)
    }

    /// Returns the deferred or the other settings of a plan, without those that may not be written if the plan skips
    /// them.
    fn settings<'a>(&self, plan: &'a CgroupPlan, deferred: bool) -> impl Iterator<Item = &'a Setting> {
        let all = plan.settings.iter().filter(move |setting| setting.deferred == deferred);
        let possible = |setting: &&Setting| {
            plan.on_permission_denied != OnPermissionDenied::Skip || apply::is_writable(self, setting)
        };
        all.filter(possible).collect::<Vec<_>>().into_iter()
    }

    /// Returns a warning with the planned limits that croci has no permission to set; `None` when all are set.
    fn skipped_warning(&self, plan: &CgroupPlan) -> Option<String> {
        let without: Vec<&str> = plan
            .settings
            .iter()
            .filter(|setting| !apply::is_writable(self, setting))
            .map(|s| s.field.as_ref())
            .collect();
        let none = self.is_none() && !plan.record.dirs.is_empty();
        let place = format!(
            "no permission to create cgroup {}: the container stays in the cgroup of its creator",
            plan.record.path
        );
        match (none, without.is_empty()) {
            (false, true) => None,
            (true, true) => Some(place),
            (true, false) => Some(format!("{place}, without its limits ({})", without.join(", "))),
            (false, false) => {
                Some(format!("no permission to limit the container: {} not enforced", without.join(", ")))
            }
        }
    }
}

/// Directories created so far; removed on drop, unless creation succeeded and cleared the list.
struct Work<'a> {
    created: Vec<String>,
    /// What the journal has.
    journaled: CgroupRecord,
    journal: Journal<'a>,
}

impl Work<'_> {
    /// Enters into the journal that croci creates more of the path of `dir` than it has.
    fn enter(&mut self, dir: &CgroupDir) -> Result<()> {
        let Some(entry) = self.journaled.dirs.iter_mut().find(|entry| entry.mount == dir.mount) else { return Ok(()) };
        if entry.created_depth < dir.created_depth {
            entry.created_depth = dir.created_depth;
            (self.journal)(&self.journaled)?;
        }
        Ok(())
    }
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        for path in self.created.iter().rev() {
            // other containers may use a parent by now
            let _ = parents::remove_unused(path);
        }
    }
}

fn may_skip(dir: &CgroupDir, plan: &CgroupPlan) -> bool {
    let here = |setting: &Setting| if dir.unified { plan.record.is_pure_v2() } else { dir.has(&setting.controller) };
    match plan.on_permission_denied {
        OnPermissionDenied::Fail => false,
        OnPermissionDenied::SkipUnlimited => !plan.settings.iter().any(here),
        OnPermissionDenied::Skip => true,
    }
}

/// Creates the directory with its parents, and checks that it may hold a container (CG-2): no processes, not frozen.
fn create_directory(dir: &mut CgroupDir, plan: &CgroupPlan, work: &mut Work<'_>) -> Result<()> {
    let path = plan.record.path_in(dir);
    let mut attempts = ATTEMPTS;
    loop {
        match create_missing(dir, plan, work) {
            Err(err) if attempts > 0 && is_gone(&err) => {
                attempts -= 1;
                dir.created_depth = missing(dir, &plan.record.path);
                work.enter(dir)?;
            }
            result => break result.map_err(|err| name_field(err, dir, plan))?,
        }
    }
    let existed = dir.created_depth == 0;
    if existed {
        if plan.on_permission_denied != OnPermissionDenied::Fail {
            // a cgroup of another user cannot be joined
            access(format!("{path}/cgroup.procs").as_str(), AccessFlags::W_OK)
                .map_err(io::Error::from)
                .with_code(Code::CgroupFailed, || format!("join cgroup {path}"))?;
        }
        let pids = files::processes(&path).with_context(|| format!("list the processes of {path}"))?;
        // the words before the path are runc's, which callers match
        let count = pids.len();
        let found = || format!("container's cgroup is not empty: {count} process(es) found in {path}: {}", list(&pids));
        ensure!(pids.is_empty(), found());
    }
    // a cgroup right below the root that was created just now cannot be frozen
    if existed || plan.record.depth() > 1 {
        ensure!(!is_frozen(dir, &path)?, coded!(CgroupBusy, "container's cgroup unexpectedly frozen: {path}"));
    }
    Ok(())
}

/// Adds to an error the limit for which the directory is needed.
fn name_field(err: anyhow::Error, dir: &CgroupDir, plan: &CgroupPlan) -> anyhow::Error {
    let setting = plan.settings.iter().find(|setting| dir.unified || dir.has(&setting.controller));
    match setting {
        Some(setting) if plan.on_permission_denied == OnPermissionDenied::SkipUnlimited && err.is_errno(DENIED) => {
            Code::CgroupController.add_to(err, format!("linux.resources.{}: needs a cgroup of its own", setting.field))
        }
        _ => err,
    }
}

pub(super) fn list(pids: &[i32]) -> String {
    let shown: Vec<String> = pids.iter().take(10).map(ToString::to_string).collect();
    format!("{}{}", shown.join(" "), if pids.len() > 10 { " …" } else { "" })
}

/// Creates the missing directories from the mount point down; on v2 also enables the controllers of each level.
fn create_missing(dir: &mut CgroupDir, plan: &CgroupPlan, work: &mut Work<'_>) -> Result<()> {
    let depth = plan.record.depth();
    let mut controllers = if plan.record.is_pure_v2() { Some(Controllers::read(&dir.mount, plan)?) } else { None };
    let mut path = dir.mount.clone();
    let mut fresh = false;
    for (level, part) in plan.record.path.split('/').skip(1).enumerate() {
        if let Some(controllers) = &mut controllers {
            controllers.enable(&path, fresh)?;
        }
        path = format!("{path}/{part}");
        fresh = false;
        if level < depth - dir.created_depth {
            continue; // existed when `probe_existing` ran
        }
        match fs::DirBuilder::new().mode(0o755).create(&path) {
            Ok(()) => {
                if level + 1 < depth {
                    parents::mark(&path);
                }
                work.created.push(path.clone());
                fresh = true;
            }
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists && work.created.contains(&path) => fresh = true,
            // created by another process since `probe_existing`: containers may share a parent, but not this cgroup
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists && level + 1 < depth => {
                dir.created_depth = depth - level - 1;
            }
            Err(err) if err.raw_os_error() == Some(libc::EAGAIN) => {
                let text = "cgroup.max.descendants or cgroup.max.depth of a cgroup above is reached";
                return Err(err).code(Code::CgroupFailed, format!("create cgroup {path}: {text}"));
            }
            Err(err) => return Err(err).code(Code::CgroupFailed, format!("create cgroup {path}")),
        }
    }
    Ok(())
}

/// The v2 controllers of one level: a cgroup has those that its parent enables for its children.
///
/// croci enables all available controllers, not only those with limits, because the container's memory would not be
/// counted without them.
struct Controllers<'a> {
    available: Vec<String>,
    /// Controller and field of each limit.
    required: Vec<(&'a str, &'a str)>,
}

impl<'a> Controllers<'a> {
    /// Reads the controllers of the cgroup `dir`.
    fn read(dir: &str, plan: &'a CgroupPlan) -> Result<Controllers<'a>> {
        let available = words(&read(&format!("{dir}/cgroup.controllers"))?);
        let fields = plan.settings.iter().filter(|setting| !setting.controller.is_empty());
        let required = match plan.on_permission_denied {
            OnPermissionDenied::Skip => Vec::new(),
            _ => fields.map(|setting| (setting.controller.as_ref(), setting.field.as_ref())).collect(),
        };
        Ok(Controllers { available, required })
    }

    fn check(&self, dir: &str) -> Result<()> {
        for (controller, field) in &self.required {
            let there = self.available.iter().any(|name| name == controller);
            ensure!(
                there,
                coded!(CgroupController, "linux.resources.{field}: cgroup {dir} has no controller {controller:?}")
            );
        }
        Ok(())
    }

    fn enable(&mut self, parent: &str, fresh: bool) -> Result<()> {
        self.check(parent)?;
        if self.available.is_empty() {
            return Ok(());
        }
        let path = format!("{parent}/cgroup.subtree_control");
        let mut enabled = if fresh { Vec::new() } else { words(&read(&path)?) };
        let missing: Vec<&String> = self.available.iter().filter(|name| !enabled.contains(name)).collect();
        if !missing.is_empty() {
            let all: Vec<String> = missing.iter().map(|name| format!("+{name}")).collect();
            let refused = try_write(&path, &all.join(" ")).err().map(|err| err.raw_os_error());
            for name in &missing {
                match refused {
                    None => enabled.push((*name).clone()),
                    // in a cgroup with processes the kernel would enable threaded controllers (cpu, pids) only, and
                    // then the children would be part of a threaded subtree and could hold no process
                    Some(Some(libc::EBUSY)) => {
                        self.tolerate(io::Error::from_raw_os_error(libc::EBUSY), name, parent)?;
                    }
                    // the kernel may refuse one of them alone (cpu where there are real-time processes)
                    Some(_) => match try_write(&path, &format!("+{name}")) {
                        Ok(()) => enabled.push((*name).clone()),
                        Err(err) => self.tolerate(err, name, parent)?,
                    },
                }
            }
        }
        self.available = enabled;
        Ok(())
    }

    fn tolerate(&self, err: io::Error, name: &str, parent: &str) -> Result<()> {
        let Some((_, field)) = self.required.iter().find(|(controller, _)| *controller == name) else { return Ok(()) };
        let why = match err.raw_os_error() {
            Some(libc::EBUSY) => {
                ": it has processes of its own, so that its children get no controllers: move them to a child of it, \
                 or choose another linux.cgroupsPath"
            }
            Some(libc::EOPNOTSUPP) => ": it is part of a threaded subtree: choose another linux.cgroupsPath",
            _ => "",
        };
        let text = format!("linux.resources.{field}: enable controller {name:?} in cgroup {parent}{why}");
        Err(anyhow!(err).context(text))
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn is_frozen(dir: &CgroupDir, path: &str) -> Result<bool> {
    if dir.unified {
        let path = format!("{path}/cgroup.events");
        return Ok(files::value_of(&read(&path)?, "frozen") == Some(1));
    }
    Ok(dir.has("freezer") && read(&format!("{path}/freezer.state"))?.trim() != "THAWED")
}

/// Fills an empty v1 cpuset from its parent, and the parent from its own, because no process can join an empty cpuset.
fn fill_cpuset(dir: &CgroupDir, plan: &CgroupPlan) -> Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let configured = plan.settings.iter().any(|setting| setting.candidates.iter().any(|(name, _)| name == file));
        let path = &plan.record.path;
        if configured && plan.record.depth() == 1 {
            continue; // the root cpuset is never empty, and the container's is written later
        }
        let inherited = inherit(&dir.mount, path, file)?;
        let own = format!("{}/{file}", plan.record.path_in(dir));
        if !configured && (dir.created_depth > 0 || read(&own)?.trim().is_empty()) {
            write(&own, &inherited)?;
        }
    }
    Ok(())
}

fn inherit(mount: &str, path: &str, file: &str) -> Result<String> {
    let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    let own = format!("{mount}{parent}/{file}");
    let value = read(&own)?.trim().to_owned();
    if !value.is_empty() || parent.is_empty() {
        return Ok(value);
    }
    let value = inherit(mount, parent, file)?;
    write(&own, &value)?;
    Ok(value)
}

/// Applies the device list: on v1 to the `devices` files, else by a BPF program on the v2 cgroup.
fn restrict_devices(cgroup: &Cgroup, devices: &DeviceList) -> Result<()> {
    let existed = cgroup.record.dirs.iter().any(|dir| dir.created_depth == 0);
    if devices.allows_everything() && !existed {
        return Ok(()); // a new cgroup has the access of its parent, which no rule extends
    }
    if let Some(path) = cgroup.controller_path("devices") {
        return write_device_list(&path, devices);
    }
    let Some(fd) = cgroup.clone_into()? else {
        bail!(coded!(CgroupFailed, "the container has no cgroup that controls devices"))
    };
    let insns = devices.program()?;
    let program =
        bpf::load_device_program(&insns).with_context(|| format!("load a program of {} steps", insns.len()))?;
    let old = if existed {
        bpf::device_programs(fd).code(Code::CgroupFailed, "query the programs of the cgroup")?
    } else {
        Vec::new()
    };
    bpf::attach_device_program(fd, &program, old.first()).code(Code::CgroupFailed, "attach the program to the cgroup")
}

fn write_device_list(path: &str, devices: &DeviceList) -> Result<()> {
    let (allow, deny) = (format!("{path}/devices.allow"), format!("{path}/devices.deny"));
    write(if devices.base_allow { &allow } else { &deny }, "a")?;
    let open = |path: &String| fs::OpenOptions::new().write(true).open(path).with_context(|| format!("open {path}"));
    let mut allow_file = None;
    for rule in devices.v1_rules()? {
        let line = rule.to_string();
        if !rule.allow {
            write(&deny, &line)?;
            continue;
        }
        let file = match &mut allow_file {
            Some(file) => file,
            None => allow_file.insert(open(&allow)?),
        };
        match io::Write::write_all(file, line.as_bytes()) {
            // a parent cgroup forbids the device; a default rule is not of the configuration and may fail
            Err(err) if rule.default && err.raw_os_error() == Some(libc::EPERM) => {}
            result => result.with_context(|| write_context(&allow, &line))?,
        }
    }
    Ok(())
}

/// Changes the owner of the cgroup to the host user `uid`: of the directory and the files for delegation only (CG-4).
fn delegate(path: &str, uid: u32) -> Result<()> {
    let named = try_read("/sys/kernel/cgroup/delegate");
    let named = named.unwrap_or_else(|_| "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n".to_owned());
    let own = |path: &str| match std::os::unix::fs::lchown(path, Some(uid), None) {
        Err(err) if is_gone(&err) => Ok(()),
        result => result.with_context(|| format!("give {path} to user {uid}")),
    };
    own(path)?;
    // file names such as memory.oom.group; a name with a slash is skipped
    named
        .lines()
        .filter(|name| !name.is_empty() && !name.contains('/'))
        .try_for_each(|name| own(&format!("{path}/{name}")))
}
