//! Part 2: several runtimes at once, and pids that the kernel has given to another process.

use test_support::*;

/// Creates one container by `number` runtimes at once: one of them wins, and the container works.
pub(crate) fn one_winner(number: usize) {
    let c = Container::new(&["sleep", "1000"]);
    let creates: Vec<_> = (0..number).map(|_| c.create_with(&[]).spawn()).collect();
    let outs: Vec<_> = creates.into_iter().map(Proc::wait).collect();
    let winners = outs.iter().filter(|out| out.code == Some(0)).count();
    assert_eq!(winners, 1, "{outs:#?}");
    for loser in outs.into_iter().filter(|out| out.code != Some(0)) {
        loser.fails().one_line().stderr_contains("exist");
    }
    assert_eq!(c.status(), "created");
    c.start().ok();
    c.delete_force().ok();
    c.nothing_left();
}

#[test]
fn ft_13_k4_parallel_creates_of_one_id() {
    need_root!();
    (0..10).for_each(|_| one_winner(6));
}

#[test]
fn ft_14_k5_parallel_forced_deletes() {
    need_root!();
    for _ in 0..5 {
        let c = Container::running();
        let deletes: Vec<_> = (0..5).map(|_| c.verb("delete", &["--force"]).spawn()).collect();
        let outs: Vec<_> = deletes.into_iter().map(Proc::wait).collect();
        assert!(outs.iter().all(|out| out.code == Some(0)) || !is_croci(), "{outs:#?}");
        assert!(outs.iter().any(|out| out.code == Some(0)), "{outs:#?}");
        c.nothing_left();
    }
}

#[test]
fn ft_15_start_against_start_and_delete() {
    need_root!();
    for _ in 0..5 {
        let c = Container::new(&["sleep", "1000"]);
        c.create().ok();
        let starts: Vec<_> = (0..2).map(|_| c.verb("start", &[]).spawn()).collect();
        let codes: Vec<_> = starts.into_iter().map(|start| start.wait().no_panic().code).collect();
        assert_eq!(codes.iter().filter(|code| **code == Some(0)).count(), 1, "{codes:?}");
        assert_eq!(c.status(), "running");
        c.delete_force().ok();

        c.create().ok();
        let start = c.verb("start", &[]).spawn();
        let delete = c.verb("delete", &["--force"]).spawn();
        start.wait().no_panic();
        delete.wait().ok();
        c.delete_force().ok();
        c.nothing_left();

        let c = c.up();
        let kill = c.verb("kill", &[]).arg("KILL").spawn();
        let delete = c.verb("delete", &["--force"]).spawn();
        kill.wait().no_panic();
        delete.wait().ok();
        c.nothing_left();
    }
}

/// Each poll prints a complete document, whatever the state of the container.
#[test]
fn ft_16_k3_state_and_list_polled_during_the_life() {
    need_root!();
    let c = Container::new(&["sleep", "1000"]);
    std::fs::create_dir(&c.sandbox.root).unwrap(); // list of a named root that does not exist is an error
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let poller = scope.spawn(|| {
            let mut polls = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                check_poll(&c);
                polls += 1;
            }
            polls
        });
        let life = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..8 {
                c.create().ok();
                c.start().ok();
                c.kill("KILL").ok();
                c.delete_force().ok();
            }
        }));
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(poller.join().unwrap() > 8);
        life.unwrap();
    });
    c.nothing_left();
}

#[track_caller]
fn check_poll(c: &Container) {
    let out = c.verb("state", &[]).out();
    match out.code {
        Some(0) => {
            let status = out.json()["status"].as_str().unwrap().to_owned();
            assert!(["creating", "created", "running", "stopped"].contains(&status.as_str()), "{out:?}");
        }
        _ => drop(out.fails().stderr_contains("does not exist")),
    }
    let list = c.croci(["list", "--format", "json"]).out().ok();
    assert!(list.json().is_array() || list.json().is_null());
}

#[test]
fn ft_17_k6_a_reused_pid_is_another_process() {
    need_root!();
    let last = std::path::Path::new("/proc/sys/kernel/ns_last_pid");
    let c = Container::running();
    let pid = c.pid();
    c.kill("KILL").ok();
    assert_eq!(Container::reap(pid), 137); // the number is free now
    let mut stranger = None;
    for _ in 0..2000 {
        if std::fs::write(last, (pid - 1).to_string()).is_err() {
            skip!("ns_last_pid cannot be written");
        }
        let proc = Cmd::new("sleep", &c.sandbox.dir, "stranger").arg("1000").spawn();
        if proc.pid() == pid {
            stranger = Some(proc);
            break;
        }
    }
    let Some(stranger) = stranger else { skip!("others took the pid each time") };
    assert_eq!(c.status(), "stopped");
    c.kill("KILL").fails();
    c.croci(["kill", "--all", &c.id, "KILL"]).out().no_panic();
    assert!(c.verb("ps", &["--format", "json"]).out().stdout.find(&pid.to_string()).is_none());
    c.delete().ok();
    assert!(host::alive(stranger.pid()), "the stranger was not touched");
    c.nothing_left();
}

#[test]
fn ft_18_k7_a_zombie_init_is_stopped() {
    need_root!();
    let c = Container::running();
    let pid = c.pid();
    c.kill("KILL").ok();
    // this process is the subreaper and has not waited yet
    wait_for("the init is a zombie", || host::stat(pid).is_some_and(|stat| stat.state == 'Z'));
    let state = c.state();
    assert_eq!(state["status"], "stopped");
    assert!(state.get("pid").is_none_or(|pid| pid == 0), "{state}");
    c.kill("KILL").fails().stderr_contains("container not running");
    c.delete().ok();
    assert_eq!(host::stat(pid).unwrap().state, 'Z', "still not waited for");
    Container::reap(pid);
    c.nothing_left();
}

#[test]
fn ft_19_parallel_creates_of_different_ids() {
    need_root!();
    let first = Container::new(&["sleep", "1000"]);
    let rest: Vec<_> = (1..16).map(|_| Container::within(&first.sandbox, &["sleep", "1000"])).collect();
    let all: Vec<_> = std::iter::once(&first).chain(&rest).collect();
    let creates: Vec<_> = all.iter().map(|c| c.create_with(&[]).spawn()).collect();
    for create in creates {
        create.wait().ok();
    }
    let list = first.croci(["list", "--format", "json"]).out().ok().json();
    assert_eq!(list.as_array().unwrap().iter().filter(|entry| entry["status"] == "created").count(), 16);
    let deletes: Vec<_> = all.iter().map(|c| c.verb("delete", &["--force"]).spawn()).collect();
    for delete in deletes {
        delete.wait().ok();
    }
    first.nothing_left();
}
