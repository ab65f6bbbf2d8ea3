//! Links croci with an entry point of its own, which protects the binary before anything else runs:
//! `crates/linux/src/binary.rs`.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_ARCH").as_deref() == Ok("x86_64") {
        println!("cargo:rustc-link-arg-bin=croci=-Wl,-e,croci_start");
    }
}
