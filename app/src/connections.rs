//! Connections that stay open, of which nobody may have any number.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::metrics::LIVE;
use crate::users::User;

/// How many a user may have on one instance: some tabs on some devices.
const PER_USER: usize = 32;

/// Counts the open connections of each user.
#[derive(Clone, Default)]
pub(crate) struct Connections(Arc<Mutex<HashMap<u32, usize>>>);

/// An open connection, counted until it is dropped.
pub(crate) struct Connection {
    all: Connections,
    user: u32,
}

impl Connections {
    /// One more; `None` if the user has as many as allowed.
    pub(crate) fn open(&self, user: &User) -> Option<Connection> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = open.entry(user.id).or_default();
        if *number >= PER_USER {
            return None;
        }
        *number += 1;
        metrics::gauge!(LIVE).increment(1);
        Some(Connection { all: self.clone(), user: user.id })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        metrics::gauge!(LIVE).decrement(1);
        let mut open = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = open.get_mut(&self.user) {
            *number -= 1;
            if *number == 0 {
                open.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::users::Role;

    #[test]
    fn a_user_may_have_so_many_and_again_once_one_is_closed() {
        let user = |id| User { id, name: String::from("x"), role: Role::User, counter: 0 };
        let connections = Connections::default();
        let mut open: Vec<_> = (0..PER_USER).map(|_| connections.open(&user(1)).unwrap()).collect();
        assert!(connections.open(&user(1)).is_none() && connections.open(&user(2)).is_some());
        open.pop();
        assert!(connections.open(&user(1)).is_some());
        drop(open);
        assert!(connections.0.lock().unwrap().is_empty(), "nobody is kept in mind for nothing");
    }
}
