//! Links croci with an entry point of its own, which protects the binary before anything else runs
//! (`crates/linux/src/binary.rs`), and a release without tables for unwinding (decision 36) and with the functions that run side by
//! side (`bench/order.py`). A release also names the commit of its source.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_ARCH").as_deref() == Ok("x86_64") {
        pass(&["-e", "croci_start"]);
    }
    if std::env::var("PROFILE").as_deref() == Ok("release") {
        name_commit();
        pass(&["--no-eh-frame-hdr", "-z", "muldefs"]);
        for script in ["crates/linux/unwind.ld", "src/order.ld"] {
            println!("cargo:rerun-if-changed={script}");
            pass(&["-T", &format!("{}/{script}", env!("CARGO_MANIFEST_DIR"))]);
        }
    }
}

/// Passes the commit of a clone on to `croci --version`, or that of an archive made by `git archive`, which wrote it to
/// `.commit`. Not for debug builds, because each commit would then build the library anew. `CROCI_COMMIT` precedes both.
fn name_commit() {
    println!("cargo:rerun-if-env-changed=CROCI_COMMIT");
    println!("cargo:rerun-if-changed=.commit");
    let git = |args: &[&str]| {
        // the owner of the clone may be another user, as under sudo
        let output = std::process::Command::new("git").args(["-c", "safe.directory=*"]).args(args).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        (output.status.success() && !text.is_empty()).then_some(text)
    };
    let archived = std::fs::read_to_string(".commit").unwrap_or_default().trim().to_owned();
    let commit = if archived.starts_with('$') {
        // moves with each commit and each checkout
        if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
            println!("cargo:rerun-if-changed={log}");
        }
        // a clone inside of another repository is that of the top directory alone
        git(&["rev-parse", "--show-prefix"]).is_none().then(|| git(&["rev-parse", "HEAD"])).flatten()
    } else {
        Some(archived).filter(|commit| !commit.is_empty())
    };
    if let (Some(commit), Err(_)) = (commit, std::env::var("CROCI_COMMIT")) {
        println!("cargo:rustc-env=CROCI_COMMIT={commit}");
    }
}

/// Passes options to the linker: by the C compiler, or to lld itself for musl (.cargo/config.toml).
fn pass(options: &[&str]) {
    if std::env::var("CARGO_CFG_TARGET_ENV").as_deref() == Ok("musl") {
        options.iter().for_each(|option| println!("cargo:rustc-link-arg-bin=croci={option}"));
    } else {
        println!("cargo:rustc-link-arg-bin=croci=-Wl,{}", options.join(","));
    }
}
