use kvolt_cache::MemoryStore;
use kvolt_cache::memory::Cleaning;
use kvolt_testkit::{ManualClock, check_ops, ops_from_bytes};

/// The bytes are operations; the store in memory answers each as the reference model does.
///
/// # Panics
///
/// If that does not hold.
pub fn store_ops(data: &[u8]) {
    let time = ManualClock::new();
    let store = MemoryStore::builder().clock(time.clock()).cleaning(Cleaning::Manual).build();
    if let Err(divergence) = pollster::block_on(check_ops(&store, &time, &ops_from_bytes(data))) {
        panic!("{divergence}");
    }
}
