use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::Expiry;
use crate::{
    Access, Changes, Cursor, Entry, EntryRef, Insert, Key, NewEntry, OnExpired, Owner, Page,
    Rename, Renamed, Replace, Result, Store, Version,
};

type Boxed<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// Any store of a kind of value, with its type erased. Cloning it is cheap.
///
/// For places where a type parameter would leak into everything that names
/// them. [`get_ready`](Store::get_ready) is one virtual call; the other
/// operations box their future.
pub struct AnyStore<V>(Arc<dyn Erased<V>>);

impl<V: Send + 'static> AnyStore<V> {
    /// Erases the type of a store.
    pub fn new(store: impl Store<V>) -> Self {
        Self(Arc::new(store))
    }

    /// Erases the type of a store that is shared with others.
    pub fn from_arc(store: Arc<impl Store<V>>) -> Self {
        Self(Arc::new(Shared(store)))
    }
}

impl<V> Clone for AnyStore<V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<V> fmt::Debug for AnyStore<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnyStore")
    }
}

trait Erased<V>: Send + Sync {
    fn get<'a>(&'a self, key: &'a Key, access: Access) -> Boxed<'a, Option<Entry<V>>>;
    fn insert(&self, key: Key, entry: NewEntry<V>) -> Boxed<'_, Insert>;
    fn replace<'a>(
        &'a self,
        key: &'a Key,
        seen: Version,
        value: V,
        expiry: Option<Expiry>,
    ) -> Boxed<'a, Replace<V>>;
    fn rename<'a>(&'a self, from: &'a Key, to: Key, rename: Rename<V>) -> Boxed<'a, Renamed>;
    fn remove<'a>(&'a self, key: &'a Key) -> Boxed<'a, bool>;
    fn list<'a>(&'a self, owner: &'a Owner) -> Boxed<'a, Vec<Entry<V>>>;
    fn remove_owner<'a>(&'a self, owner: &'a Owner, keep: Option<&'a Key>) -> Boxed<'a, Vec<Key>>;
    fn scan<'a>(&'a self, after: Option<&'a Cursor>, entries_max: usize) -> Boxed<'a, Page<V>>;
    fn clear(&self) -> Boxed<'_, ()>;
    fn count(&self) -> Boxed<'_, u64>;
    fn on_expired(&self, told: OnExpired) -> bool;
    fn changes(&self) -> Option<Arc<Changes>>;
    fn get_ready(
        &self,
        key: &Key,
        access: Access,
        visit: &mut dyn FnMut(EntryRef<'_, V>),
    ) -> Option<Result<bool>>;
    fn places(&self, key: &Key, owner: Option<&Owner>) -> bool;
    fn reaches(&self, from: &Key, to: &Key) -> bool;
}

impl<V: Send + 'static, S: Store<V>> Erased<V> for S {
    fn get<'a>(&'a self, key: &'a Key, access: Access) -> Boxed<'a, Option<Entry<V>>> {
        Box::pin(Store::get(self, key, access))
    }

    fn insert(&self, key: Key, entry: NewEntry<V>) -> Boxed<'_, Insert> {
        Box::pin(Store::insert(self, key, entry))
    }

    fn replace<'a>(
        &'a self,
        key: &'a Key,
        seen: Version,
        value: V,
        expiry: Option<Expiry>,
    ) -> Boxed<'a, Replace<V>> {
        Box::pin(Store::replace(self, key, seen, value, expiry))
    }

    fn rename<'a>(&'a self, from: &'a Key, to: Key, rename: Rename<V>) -> Boxed<'a, Renamed> {
        Box::pin(Store::rename(self, from, to, rename))
    }

    fn remove<'a>(&'a self, key: &'a Key) -> Boxed<'a, bool> {
        Box::pin(Store::remove(self, key))
    }

    fn list<'a>(&'a self, owner: &'a Owner) -> Boxed<'a, Vec<Entry<V>>> {
        Box::pin(Store::list(self, owner))
    }

    fn remove_owner<'a>(&'a self, owner: &'a Owner, keep: Option<&'a Key>) -> Boxed<'a, Vec<Key>> {
        Box::pin(Store::remove_owner(self, owner, keep))
    }

    fn scan<'a>(&'a self, after: Option<&'a Cursor>, entries_max: usize) -> Boxed<'a, Page<V>> {
        Box::pin(Store::scan(self, after, entries_max))
    }

    fn clear(&self) -> Boxed<'_, ()> {
        Box::pin(Store::clear(self))
    }

    fn count(&self) -> Boxed<'_, u64> {
        Box::pin(Store::count(self))
    }

    fn on_expired(&self, told: OnExpired) -> bool {
        Store::on_expired(self, told)
    }

    fn changes(&self) -> Option<Arc<Changes>> {
        Store::changes(self)
    }

    fn get_ready(
        &self,
        key: &Key,
        access: Access,
        visit: &mut dyn FnMut(EntryRef<'_, V>),
    ) -> Option<Result<bool>> {
        Store::get_ready(self, key, access, visit)
    }

    fn places(&self, key: &Key, owner: Option<&Owner>) -> bool {
        Store::places(self, key, owner)
    }

    fn reaches(&self, from: &Key, to: &Key) -> bool {
        Store::reaches(self, from, to)
    }
}

/// Passes every operation of a store on to another, named by an expression of `self`.
macro_rules! delegate_store {
    ($self:ident => $inner:expr) => {
        async fn get(&$self, key: &Key, access: Access) -> Result<Option<Entry<V>>> {
            $inner.get(key, access).await
        }
        async fn insert(&$self, key: Key, entry: NewEntry<V>) -> Result<Insert> {
            $inner.insert(key, entry).await
        }
        async fn replace(
            &$self,
            key: &Key,
            seen: Version,
            value: V,
            expiry: Option<Expiry>,
        ) -> Result<Replace<V>> {
            $inner.replace(key, seen, value, expiry).await
        }
        async fn rename(&$self, from: &Key, to: Key, rename: Rename<V>) -> Result<Renamed> {
            $inner.rename(from, to, rename).await
        }
        async fn remove(&$self, key: &Key) -> Result<bool> {
            $inner.remove(key).await
        }
        async fn list(&$self, owner: &Owner) -> Result<Vec<Entry<V>>> {
            $inner.list(owner).await
        }
        async fn remove_owner(&$self, owner: &Owner, keep: Option<&Key>) -> Result<Vec<Key>> {
            $inner.remove_owner(owner, keep).await
        }
        async fn scan(&$self, after: Option<&Cursor>, entries_max: usize) -> Result<Page<V>> {
            $inner.scan(after, entries_max).await
        }
        async fn clear(&$self) -> Result<()> {
            $inner.clear().await
        }
        async fn count(&$self) -> Result<u64> {
            $inner.count().await
        }
        fn on_expired(&$self, told: OnExpired) -> bool {
            $inner.on_expired(told)
        }
        fn changes(&$self) -> Option<Arc<Changes>> {
            $inner.changes()
        }
        fn get_ready(
            &$self,
            key: &Key,
            access: Access,
            visit: &mut dyn FnMut(EntryRef<'_, V>),
        ) -> Option<Result<bool>> {
            $inner.get_ready(key, access, visit)
        }
        fn places(&$self, key: &Key, owner: Option<&Owner>) -> bool {
            $inner.places(key, owner)
        }
        fn reaches(&$self, from: &Key, to: &Key) -> bool {
            $inner.reaches(from, to)
        }
    };
}

impl<V: Send + 'static> Store<V> for AnyStore<V> {
    delegate_store!(self => self.0);
}

struct Shared<S>(Arc<S>);

impl<V: Send + 'static, S: Store<V>> Store<V> for Shared<S> {
    delegate_store!(self => self.0);
}
