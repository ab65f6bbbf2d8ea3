//! Links a release of corm without tables for unwinding (decision 36).

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=../linux/unwind.ld");
    if std::env::var("PROFILE").as_deref() == Ok("release") {
        println!("cargo:rustc-link-arg-bin=corm=-Wl,--no-eh-frame-hdr,-z,muldefs");
        println!("cargo:rustc-link-arg-bin=corm=-Wl,-T,{}/../linux/unwind.ld", env!("CARGO_MANIFEST_DIR"));
    }
}
