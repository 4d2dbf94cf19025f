//! The messages, as `prost` generates them from a `.proto` file.

use prost::Message;

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct Empty {}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Credentials {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) password: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct Payment {
    #[prost(uint64, tag = "1")]
    pub(crate) cents: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct Balance {
    #[prost(uint64, tag = "1")]
    pub(crate) cents: u64,
}
