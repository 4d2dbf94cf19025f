//! Operations against the model: on the reference store, where nothing may be found.

use kvolt_testkit::{ManualClock, ModelStore, Op, check_ops, ops_from_bytes};
use proptest::collection::vec;
use proptest::prelude::{any, proptest};
use proptest::test_runner::Config;

proptest! {
    #![proptest_config(Config { failure_persistence: None, ..Config::with_cases(256) })]

    #[test]
    fn any_bytes_are_operations_that_the_reference_store_passes(bytes in vec(any::<u8>(), 0..600)) {
        let time = ManualClock::new();
        let store = ModelStore::new(time.clock());
        pollster::block_on(check_ops(&store, &time, &ops_from_bytes(&bytes))).unwrap();
    }
}

#[test]
fn every_operation_can_be_made_from_bytes() {
    let mut state = 1u32;
    let mut byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let bytes: Vec<u8> = (0..20_000).map(|_| byte()).collect();
    let ops = ops_from_bytes(&bytes);
    let has = |is: fn(&Op) -> bool| assert!(ops.iter().any(is));
    has(|op| matches!(op, Op::Advance(_)));
    has(|op| matches!(op, Op::Get { .. }));
    has(|op| matches!(op, Op::Use { .. }));
    has(|op| matches!(op, Op::Touch { hint: Some(_), .. }));
    has(|op| matches!(op, Op::Insert { owner: Some(_), limit: Some(_), .. }));
    has(|op| matches!(op, Op::Insert { replaces: Some((_, Some(_))), .. }));
    has(|op| matches!(op, Op::Insert { replaces: Some((_, None)), age: Some(_), .. }));
    has(|op| matches!(op, Op::Replace { .. }));
    has(|op| matches!(op, Op::Remove { seen: None, .. }));
    has(|op| matches!(op, Op::Remove { seen: Some(_), .. }));
    has(|op| matches!(op, Op::List { .. }));
    has(|op| matches!(op, Op::RemoveOwner { keep: Some(_), .. }));
    has(|op| matches!(op, Op::Scan { .. }));
    has(|op| matches!(op, Op::Count));
    has(|op| matches!(op, Op::Clear));
}

#[test]
fn divergence_names_the_step_and_the_answers() {
    let time = ManualClock::new();
    let store = ModelStore::new(time.clock());
    // A store that is not empty, which the model does not know.
    let ops = [Op::Clear, Op::Scan { max_entries: 1 }];
    pollster::block_on(check_ops(&store, &time, &ops)).unwrap();
    let entry = kvolt_cache::NewEntry::new(
        String::from("left over"),
        kvolt_cache::Expiry::after(std::time::Duration::MAX),
    );
    let key = kvolt_cache::Key::of("left over");
    let _ = pollster::block_on(kvolt_cache::Store::insert(&store, key, entry)).unwrap();
    let found = pollster::block_on(check_ops(&store, &time, &ops[1..])).unwrap_err();
    assert_eq!((found.step(), found.op()), (0, Some(&ops[1])));
    let text = found.to_string();
    assert!(text.contains("step 0, Scan") && text.contains("left over"), "{text}");
}
