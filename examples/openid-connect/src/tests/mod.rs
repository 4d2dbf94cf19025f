//! Against a real provider, npm's `oidc-provider`, and two servers of this application on one store.

mod back_channel;
mod browser;
mod sign_in;
mod stage;
mod tokens;
