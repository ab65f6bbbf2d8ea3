//! The store of corm with each of its drivers, on real file systems. Needs root.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod drivers;
mod fsck;
mod images;
mod sequences;
mod store;
mod store_fixture;

/// Waits with a deadline until the condition is true.
fn wait_until(mut is_true: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !is_true() {
        assert!(std::time::Instant::now() < end, "waited too long");
        std::thread::yield_now();
    }
}
