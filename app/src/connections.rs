//! A limit on the open connections of each user.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::metrics::OPEN_CONNECTIONS;
use crate::users::User;

/// The maximum for a user on one instance: some tabs on some devices.
const MAX_PER_USER: usize = 32;

/// Counts the open connections by user id.
#[derive(Clone, Default)]
pub(crate) struct Connections(Arc<Mutex<HashMap<u32, usize>>>);

/// An open connection, counted until it is dropped.
pub(crate) struct Connection {
    all: Connections,
    user: u32,
}

impl Connections {
    /// Counts a new connection; `None` if the user has the maximum.
    pub(crate) fn open(&self, user: &User) -> Option<Connection> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(user.id).or_default();
        if *count >= MAX_PER_USER {
            return None;
        }
        *count += 1;
        metrics::gauge!(OPEN_CONNECTIONS).increment(1);
        Some(Connection { all: self.clone(), user: user.id })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        metrics::gauge!(OPEN_CONNECTIONS).decrement(1);
        let mut open = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
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
    fn a_closed_connection_makes_room_for_another() {
        let user = |id| User { id, name: String::from("x"), role: Role::User, counter: 0 };
        let connections = Connections::default();
        let mut open: Vec<_> =
            (0..MAX_PER_USER).map(|_| connections.open(&user(1)).unwrap()).collect();
        assert!(connections.open(&user(1)).is_none() && connections.open(&user(2)).is_some());
        open.pop();
        assert!(connections.open(&user(1)).is_some());
        drop(open);
        assert!(connections.0.lock().unwrap().is_empty(), "no entry is left behind");
    }
}
