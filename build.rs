//! Links croci with an entry point of its own, which protects the binary before anything else runs
//! (`crates/linux/src/binary.rs`), and a release without tables for unwinding (decision 36).

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=crates/linux/unwind.ld");
    if std::env::var("CARGO_CFG_TARGET_ARCH").as_deref() == Ok("x86_64") {
        println!("cargo:rustc-link-arg-bin=croci=-Wl,-e,croci_start");
    }
    if std::env::var("PROFILE").as_deref() == Ok("release") {
        println!("cargo:rustc-link-arg-bin=croci=-Wl,--no-eh-frame-hdr,--wrap=_Unwind_Backtrace");
        println!("cargo:rustc-link-arg-bin=croci=-Wl,-T,{}/crates/linux/unwind.ld", env!("CARGO_MANIFEST_DIR"));
    }
}
