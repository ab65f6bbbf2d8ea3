//! The environment: checked, each name once, with the variables of socket activation.

use std::collections::HashSet;
use std::ffi::CString;

use anyhow::{Context as _, Result, ensure};

use super::ListenFds;

#[derive(Debug)]
pub(super) struct Environment {
    pub vars: Vec<CString>,
    pub wants_home: bool,
    pub wants_listen_pid: bool,
}

/// Returns the variables in order. Of two with one name the last is used, as in a shell (PR-3).
pub(super) fn build(env: &[String], listen_fds: Option<&ListenFds>) -> Result<Environment> {
    let mut seen: HashSet<&str> = HashSet::with_capacity(env.len());
    let mut vars = Vec::with_capacity(env.len() + 4);
    let mut wants_home = true;
    if listen_fds.is_some() {
        // the caller's sockets have precedence over variables of the image
        seen.extend(["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"]);
    }
    for (index, entry) in env.iter().enumerate().rev() {
        let field = || format!("process.env[{index}]");
        let (name, value) = entry.split_once('=').with_context(|| format!("{}: {entry:?} has no \"=\"", field()))?;
        ensure!(!name.is_empty(), "{}: {entry:?} has an empty name", field());
        let entry_c = super::c_string(entry.as_bytes()).with_context(field)?;
        if !seen.insert(name) {
            continue;
        }
        if name == "HOME" {
            wants_home = value.is_empty();
            if wants_home {
                continue;
            }
        }
        vars.push(entry_c);
    }
    vars.reverse();
    if let Some(ListenFds { count, names }) = listen_fds {
        vars.push(super::c_string(format!("LISTEN_FDS={count}").as_bytes())?);
        if let Some(names) = names {
            vars.push(super::c_string(format!("LISTEN_FDNAMES={names}").as_bytes()).context("LISTEN_FDNAMES")?);
        }
    }
    Ok(Environment { vars, wants_home, wants_listen_pid: listen_fds.is_some() })
}

/// Returns the value of a variable.
pub(crate) fn get<'a>(env: &'a [CString], name: &str) -> Option<&'a [u8]> {
    env.iter().find_map(|entry| entry.to_bytes().strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn built(env: &[&str], listen: Option<&ListenFds>) -> Result<(Vec<String>, bool)> {
        let env: Vec<String> = env.iter().map(|s| (*s).to_owned()).collect();
        let built = build(&env, listen)?;
        Ok((built.vars.into_iter().map(|v| v.into_string().unwrap()).collect(), built.wants_home))
    }

    #[test]
    fn pr_3_order_is_kept_and_the_last_of_a_name_is_used() {
        let (vars, home) = built(&["B=1", "A=2", "HOME=/x", "B=3", "C=", "D=a=b"], None).unwrap();
        assert_eq!(vars, ["A=2", "HOME=/x", "B=3", "C=", "D=a=b"]);
        assert!(!home);
    }

    #[test]
    fn pr_3_home_is_wanted_when_unset_or_empty() {
        assert!(built(&["A=1"], None).unwrap().1);
        let (vars, home) = built(&["HOME=/x", "HOME="], None).unwrap();
        assert!(home && vars.is_empty(), "the empty HOME is the last one, and is replaced");
        assert!(!built(&["HOME=", "HOME=/y"], None).unwrap().1);
    }

    #[test]
    fn pr_3_malformed_entries_are_named() {
        for bad in ["NOEQUALS", "", "=x", "A=\0"] {
            let err = built(&["OK=1", bad], None).unwrap_err();
            assert!(format!("{err:#}").starts_with("process.env[1]: "), "{bad:?}: {err:#}");
        }
    }

    #[test]
    fn fd_2_the_callers_sockets_have_precedence_over_the_image() {
        let (vars, _) = built(
            &["LISTEN_FDS=9", "LISTEN_PID=7", "A=1"],
            Some(&ListenFds { count: 2, names: Some("http:admin".to_owned()) }),
        )
        .unwrap();
        assert_eq!(vars, ["A=1", "LISTEN_FDS=2", "LISTEN_FDNAMES=http:admin"]);
        let (vars, _) = built(&["LISTEN_FDS=9"], None).unwrap();
        assert_eq!(vars, ["LISTEN_FDS=9"]);
    }

    #[test]
    fn a_value_is_found_by_its_whole_name() {
        let env = [c"PATHX=/no".to_owned(), c"PATH=/bin".to_owned()];
        assert_eq!(get(&env, "PATH"), Some(&b"/bin"[..]));
        assert_eq!(get(&env, "PAT"), None);
    }
}
