//! The application of [`kvolt_testkit::http`], once on each adapter and on each of three stores.

pub mod actix;
pub mod axum;
mod data;
mod lines;
mod running;
mod sessions;
pub mod stores;

pub use data::User;
pub use running::Running;
pub use stores::Backend;
