//! Links a release of the shim without tables for unwinding (decision 36), with glibc by the C compiler, with musl by lld
//! itself (.cargo/config.toml).

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=../linux/unwind.ld");
    if std::env::var("PROFILE").as_deref() != Ok("release") {
        return;
    }
    let script = format!("{}/../linux/unwind.ld", env!("CARGO_MANIFEST_DIR"));
    let options = ["--no-eh-frame-hdr", "-z", "muldefs", "-T", &script];
    if std::env::var("CARGO_CFG_TARGET_ENV").as_deref() == Ok("musl") {
        options.iter().for_each(|option| println!("cargo:rustc-link-arg-bins={option}"));
    } else {
        println!("cargo:rustc-link-arg-bins=-Wl,{}", options.join(","));
    }
}
