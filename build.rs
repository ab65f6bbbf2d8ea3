//! Links croci with an entry point of its own, which protects the binary before anything else runs
//! (`crates/linux/src/binary.rs`), and a release without tables for unwinding (decision 36) and with the functions that run side by
//! side (`bench/order.py`).

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_ARCH").as_deref() == Ok("x86_64") {
        pass(&["-e", "croci_start"]);
    }
    if std::env::var("PROFILE").as_deref() == Ok("release") {
        pass(&["--no-eh-frame-hdr", "-z", "muldefs"]);
        for script in ["crates/linux/unwind.ld", "src/order.ld"] {
            println!("cargo:rerun-if-changed={script}");
            pass(&["-T", &format!("{}/{script}", env!("CARGO_MANIFEST_DIR"))]);
        }
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
