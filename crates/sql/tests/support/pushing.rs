//! Recording pushed changes, and the tests of all change feeds.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kvolt_cache::{
    ChangeFeed, ChangeObserver, Clock, Expiry, Key, NewEntry, Predecessor, ReplaceOutcome, Store,
    Target, Timestamp,
};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::{get, owner};

pub(crate) const BEAT: Duration = Duration::from_millis(200);

pub(crate) trait Pushing: Store<Vec<u8>> + ChangeFeed + Clone {}

impl<S: Store<Vec<u8>> + ChangeFeed + Clone> Pushing for S {}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Notice {
    Changed(Key),
    All,
    Confirmed(Timestamp, Timestamp),
}

#[derive(Clone, Default)]
pub(crate) struct Recorder {
    pub(crate) clock: Clock,
    notices: Arc<Mutex<Vec<Notice>>>,
}

impl Recorder {
    fn push(&self, notice: Notice) {
        self.notices.lock().expect("no thread panicked").push(notice);
    }

    pub(crate) fn notices(&self) -> Vec<Notice> {
        self.notices.lock().expect("no thread panicked").clone()
    }

    pub(crate) fn forget(&self) {
        self.notices.lock().expect("no thread panicked").clear();
    }

    pub(crate) fn has(&self, key: &Key) -> bool {
        self.notices().contains(&Notice::Changed(*key))
    }

    fn beats(&self) -> usize {
        self.notices().iter().filter(|notice| matches!(notice, Notice::Confirmed(..))).count()
    }

    /// Waits for a confirmation whose question was asked after this call began.
    pub(crate) async fn beat(&self) {
        let begun = self.clock.now();
        let is_new =
            |notice: &Notice| matches!(notice, Notice::Confirmed(asked, _) if *asked > begun);
        let hearing = async {
            while !self.notices().iter().any(is_new) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(10), hearing).await.expect("the heart beats");
    }
}

impl ChangeObserver for Recorder {
    fn changed(&self, key: &Key) {
        self.push(Notice::Changed(*key));
    }

    fn all_changed(&self) {
        self.push(Notice::All);
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn confirmed(&self, asked: Timestamp, store_time: Timestamp) {
        self.push(Notice::Confirmed(asked, store_time));
    }
}

pub(crate) fn watch<S: Pushing>(store: &S) -> (Recorder, JoinHandle<kvolt_cache::Error>) {
    let (recorder, store) = (Recorder::default(), store.clone());
    let listener = recorder.clone();
    (recorder, tokio::spawn(async move { store.run(BEAT, &listener).await }))
}

pub(crate) async fn watched<S: Pushing>(store: &S) -> Recorder {
    let (recorder, _) = watch(store);
    recorder.beat().await;
    recorder.forget();
    recorder
}

pub(crate) fn entry(value: &str) -> NewEntry<Vec<u8>> {
    NewEntry::new(value.into(), Expiry::idle(Duration::from_secs(3_600)))
}

/// Every change is pushed before the next confirmation, also one by hand.
pub(crate) async fn pushes_every_change<S: Pushing, F: Future>(
    store: S,
    by_hand: impl Fn(&'static str) -> F,
) {
    let recorder = watched(&store).await;
    let [key, to, other] = ["key", "to", "other"].map(Key::of);
    let owner = owner("owner");

    let _ = store.insert(key, entry("value").owner(owner.clone())).await.expect("it works");
    recorder.beat().await;
    assert!(recorder.has(&key), "it was made");

    recorder.forget();
    let found = get(&store, &key).await.expect("it was inserted");
    let replaced = store.replace(Target::new(&key), found.version, b"new".to_vec(), None).await;
    assert!(matches!(replaced, Ok(ReplaceOutcome::Replaced(_))));
    recorder.beat().await;
    assert!(recorder.has(&key), "it was replaced");

    recorder.forget();
    let over = entry("value").owner(owner.clone()).replaces(Predecessor::new(key));
    let _ = store.insert(to, over).await.expect("it works");
    recorder.beat().await;
    assert!(recorder.has(&key) && recorder.has(&to), "one took the place of the other");

    recorder.forget();
    assert_eq!(store.remove_owner(&owner, None).await.expect("it works"), [to]);
    recorder.beat().await;
    assert!(recorder.has(&to), "it was removed");

    let _ = store.insert(other, entry("value")).await.expect("it works");
    for sql in ["UPDATE {t} SET value = 'by hand'", "UPDATE {t} SET idle_deadline = 0"] {
        recorder.beat().await;
        recorder.forget();
        by_hand(sql).await;
        recorder.beat().await;
        assert!(recorder.has(&other), "by hand, too: {sql}");
    }
}

/// Changes made before a confirmation's question are pushed before it, with several writers.
pub(crate) async fn no_beat_overtakes_a_change<S: Pushing>(store: S) {
    let recorder = watched(&store).await;
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (store, recorder) = (store.clone(), recorder.clone());
            tokio::spawn(async move {
                let mut done = Vec::new();
                // However fast or slow the machine is, beats come in between.
                while done.len() < 250 || recorder.beats() < 3 {
                    let key = Key::of(format!("{writer} {}", done.len()));
                    let _ = store.insert(key, entry("value")).await.expect("it works");
                    done.push((key, recorder.clock.now()));
                }
                done
            })
        })
        .collect();
    let mut done = Vec::new();
    for writer in writers {
        done.extend(writer.await.expect("it ends"));
    }
    recorder.beat().await;
    let notices = recorder.notices();
    let confirmed = notices.iter().enumerate().filter_map(|(place, notice)| match notice {
        Notice::Confirmed(asked, _) => Some((place, *asked)),
        _ => None,
    });
    let beats: Vec<_> = confirmed.collect();
    for (key, at) in done {
        let is_its = |notice: &Notice| *notice == Notice::Changed(key);
        let place = notices.iter().position(is_its).expect("it was pushed");
        // The clock has ticks: one that was asked in the same may have been before.
        let after = beats.iter().find(|(_, asked)| *asked > at);
        assert!(after.is_none_or(|(beat, _)| place < *beat), "pushed after a later confirmation");
    }
}

/// With a store that slides at once and cleans every 100 ms.
pub(crate) async fn pushes_no_slide_and_no_expiry<S: Pushing>(store: S) {
    let recorder = watched(&store).await;
    let (slides, ends) = (Key::of("slides"), Key::of("ends"));
    let _ = store.insert(slides, entry("value")).await.expect("it works");
    let short = NewEntry::new(b"value".to_vec(), Expiry::after(Duration::from_millis(100)));
    let _ = store.insert(ends, short).await.expect("it works");
    recorder.beat().await;
    recorder.forget();
    for _ in 0..5 {
        sleep(Duration::from_millis(100)).await;
        assert!(store.touch(Target::new(&slides)).await.expect("touch works").is_some());
    }
    recorder.beat().await;
    assert!(!recorder.has(&slides) && !recorder.has(&ends), "{:?}", recorder.notices());
}
