//! Services on the other libraries.

pub mod actix;
pub mod axum;
#[cfg(feature = "axum-session")]
pub mod axum_service;
pub mod tower;

/// A service on another library, with the routes `/login` and `/logout`.
pub trait OldLibrary: Send + Sync + 'static {
    /// Signs users in, and returns their cookies as pairs of name and value.
    fn sign_in(&self, names: Vec<String>) -> Vec<String>;

    /// Signs the clients with these cookies out. Returns whether the library ends sessions.
    fn sign_out(&self, cookies: Vec<String>) -> bool;
}

/// The key of signed and encrypted cookies.
pub fn master_key() -> [u8; 64] {
    std::array::from_fn(|at| at as u8)
}

/// The name and the value of a `Set-Cookie` header.
fn pair(header: &str) -> String {
    header.split(';').next().unwrap().to_owned()
}
