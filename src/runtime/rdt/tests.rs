//! resctrl, replaced by a plain directory because our machines do not have it. The tests cover the files that croci
//! reads, writes, creates and removes, not the kernel: mkdir(2) creates no `schemata` here, so a new group with a
//! schema always fails, which is the test of its removal.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use base::error::describe;
use oci_spec::runtime::Linux;

struct Fake(PathBuf);

impl Fake {
    fn new(name: &str) -> Fake {
        let dir = std::env::temp_dir().join(format!("croci-rdt-{}-{name}", std::process::id()));
        fs::create_dir_all(dir.join("info")).unwrap();
        fs::create_dir_all(dir.join("mon_groups")).unwrap();
        let fake = Fake(dir);
        fake.put("info/last_cmd_status", "ok\n");
        fake
    }

    fn group(&self, name: &str, schemata: &str) {
        fs::create_dir_all(self.0.join(name).join("mon_groups")).unwrap();
        self.put(&format!("{name}/schemata"), schemata);
        self.put(&format!("{name}/tasks"), "");
    }

    fn put(&self, path: &str, text: &str) {
        fs::write(self.0.join(path), text).unwrap();
    }

    fn get(&self, path: &str) -> String {
        fs::read_to_string(self.0.join(path)).unwrap()
    }

    fn has(&self, path: &str) -> bool {
        self.0.join(path).exists()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn plan(rdt: &str) -> RdtPlan {
    let linux: Linux = serde_json::from_str(&format!(r#"{{"intelRdt":{rdt}}}"#)).unwrap();
    crate::plan::rdt::plan(Some(&linux), "c1").unwrap().unwrap()
}

#[test]
fn rd_10_an_error_where_there_is_none() {
    if fs::read_to_string("/proc/self/mountinfo").unwrap().contains(" - resctrl ") {
        return linux::testing::report_skip("this machine has resctrl");
    }
    let text = describe(&find_mount().unwrap_err());
    assert!(text.starts_with("linux.intelRdt: resctrl is not mounted"), "{text}");
    // because callers match it as a missing program (CL-21)
    assert!(!text.contains("no such file or directory"), "{text}");
}

#[test]
fn rd_11_rd_14_a_group_by_container_id_is_created_joined_and_removed() {
    let fake = Fake::new("own");
    let plan = plan("{}");
    let mut record = probe(&plan, &fake.0).unwrap();
    assert!(!fake.has("c1"), "looking makes nothing");
    assert_eq!(record.created, [fake.0.join("c1")]);
    apply(&plan, &fake.0, &mut record).unwrap();
    fake.put("c1/tasks", "");
    join(&record, 4711).unwrap();
    assert_eq!(fake.get("c1/tasks"), "4711");
    fs::remove_file(fake.0.join("c1/tasks")).unwrap();
    remove(&record).unwrap();
    assert!(!fake.has("c1"));
    remove(&record).unwrap();
}

#[test]
fn rd_11_the_root_group_is_joined_and_not_removed() {
    let fake = Fake::new("root");
    fake.put("tasks", "");
    let plan = plan(r#"{"closID":"/","enableMonitoring":true}"#);
    let mut record = probe(&plan, &fake.0).unwrap();
    apply(&plan, &fake.0, &mut record).unwrap();
    fake.put("mon_groups/c1/tasks", "");
    join(&record, 12).unwrap();
    assert_eq!((fake.get("tasks"), fake.get("mon_groups/c1/tasks")), ("12".to_owned(), "12".to_owned()));
    fs::remove_file(fake.0.join("mon_groups/c1/tasks")).unwrap();
    remove(&record).unwrap();
    assert!(fake.has("mon_groups") && !fake.has("mon_groups/c1"));
}

#[test]
fn rd_12_one_line_a_write_in_order() {
    let fake = Fake::new("order");
    fake.group("g", "    MB:0=  50;1= 100\n    L3:0=0ff;1=fff\n");
    let plan =
        plan(r#"{"closID":"g","schemata":["L3:0=1"],"memBwSchema":"MB:1=100;0=50","l3CacheSchema":"L3:0=ff;1=fff"}"#);
    let mut record = probe(&plan, &fake.0).unwrap();
    assert_eq!(record.created, [] as [PathBuf; 0]);
    apply(&plan, &fake.0, &mut record).unwrap();
    let wanted = "    MB:0=  50;1= 100\n    L3:0=0ff;1=fff\nL3:0=ff;1=fff\nMB:1=100;0=50\nL3:0=1\n";
    assert_eq!(fake.get("g/schemata"), wanted);
}

#[test]
fn rd_12_no_schema_no_write() {
    let fake = Fake::new("none");
    fake.group("g", "L3:0=f\n");
    let plan = plan(r#"{"closID":"g"}"#);
    let mut record = probe(&plan, &fake.0).unwrap();
    apply(&plan, &fake.0, &mut record).unwrap();
    assert_eq!(fake.get("g/schemata"), "L3:0=f\n");
}

#[test]
fn rd_13_a_group_that_exists_must_have_the_values() {
    let fake = Fake::new("values");
    fake.group("g", "    MB:0=  50;1= 100\n    L3:0=0ff;1=fff\n");
    for (rdt, field) in [
        (r#"{"closID":"g","l3CacheSchema":"L3:0=ff;1=fff"}"#, None),
        (r#"{"closID":"g","l3CacheSchema":"L3:1=0fff;0=0xff"}"#, None),
        (r#"{"closID":"g","memBwSchema":"MB:0=50;1=100"}"#, None),
        (r#"{"closID":"g","schemata":["L3:0=1"]}"#, None),
        (r#"{"closID":"g","l3CacheSchema":"L3:0=ff"}"#, Some("l3CacheSchema")),
        (r#"{"closID":"g","l3CacheSchema":"L3:0=ff;1=ffe"}"#, Some("l3CacheSchema")),
        (r#"{"closID":"g","l3CacheSchema":"L2:0=ff;1=fff"}"#, Some("l3CacheSchema")),
        (r#"{"closID":"g","l3CacheSchema":"nonsense"}"#, Some("l3CacheSchema")),
        (r#"{"closID":"g","l3CacheSchema":"L3:0=ff;1=fff","memBwSchema":"MB:0=50;1=90"}"#, Some("memBwSchema")),
    ] {
        let found = probe(&plan(rdt), &fake.0).map_err(|err| describe(&err));
        match (found, field) {
            (Ok(_), None) => {}
            (Err(text), Some(field)) => assert!(text.starts_with(&format!("linux.intelRdt.{field}: ")), "{text}"),
            (found, _) => panic!("{rdt}: {found:?}"),
        }
    }
}

#[test]
fn rd_13_a_named_group_without_schema_must_exist() {
    let fake = Fake::new("missing");
    let err = probe(&plan(r#"{"closID":"g"}"#), &fake.0).unwrap_err().to_string();
    assert!(err.starts_with("linux.intelRdt.closID: there is no group \"g\""), "{err}");
    // with a schema the group is created, and never removed (RD-14)
    let record = probe(&plan(r#"{"closID":"g","l3CacheSchema":"L3:0=f"}"#), &fake.0).unwrap();
    assert_eq!(record.created, [] as [PathBuf; 0]);
}

#[test]
fn op_3_a_group_that_cannot_be_configured_is_removed() {
    let fake = Fake::new("undo");
    for rdt in [r#"{"l3CacheSchema":"L3:0=f"}"#, r#"{"closID":"g","schemata":["L3:0=f"]}"#] {
        let mut record = probe(&plan(rdt), &fake.0).unwrap();
        let err = describe(&apply(&plan(rdt), &fake.0, &mut record).unwrap_err());
        assert!(err.starts_with("linux.intelRdt: "), "{err}");
        assert!(!fake.has("c1") && !fake.has("g"), "{rdt}");
        assert_eq!(record.created, [] as [PathBuf; 0]);
    }
}

#[test]
fn rd_14_a_group_that_another_process_creates_is_not_removed() {
    let fake = Fake::new("race");
    let mut record = probe(&plan("{}"), &fake.0).unwrap();
    fake.group("c1", "");
    fs::remove_file(fake.0.join("c1/tasks")).unwrap();
    assert!(apply(&plan("{}"), &fake.0, &mut record).is_err());
    remove(&record).unwrap();
    assert!(fake.has("c1"));
}

#[test]
fn rd_15_a_monitoring_group_that_cannot_be_created_is_an_error() {
    let fake = Fake::new("monitor");
    fake.put("info/last_cmd_status", "No free RMIDs\n");
    // without mon_groups, as on a kernel without monitoring
    fs::create_dir(fake.0.join("g")).unwrap();
    let plan = plan(r#"{"closID":"g","enableMonitoring":true}"#);
    let mut record = probe(&plan, &fake.0).unwrap();
    assert_eq!(record.created, [fake.0.join("g/mon_groups/c1")]);
    let err = describe(&apply(&plan, &fake.0, &mut record).unwrap_err());
    assert!(err.starts_with("linux.intelRdt.enableMonitoring: create") && err.contains("No free RMIDs"), "{err}");
    fs::create_dir_all(fake.0.join("g/mon_groups/c1")).unwrap();
    assert!(probe(&plan, &fake.0).is_err(), "the monitoring group of another process is not used");
}
