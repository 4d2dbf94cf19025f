//! Describes the services in Rust, so that the example needs no `protoc`. From a `.proto` file,
//! `tonic-prost-build` generates the same traits and clients.

use tonic_build::manual::{Builder, Method, MethodBuilder, Service};

/// A method by its names in Rust and over gRPC. Its messages are in `src/messages.rs`.
fn method(name: &str, route: &str, input: &str, output: &str) -> MethodBuilder {
    let path = |message| format!("crate::messages::{message}");
    Method::builder()
        .name(name)
        .route_name(route)
        .input_type(path(input))
        .output_type(path(output))
        .codec_path("tonic_prost::ProstCodec")
}

fn main() {
    let accounts = Service::builder()
        .package("bank")
        .name("Accounts")
        .method(method("sign_in", "SignIn", "Credentials", "Empty").build())
        .method(method("confirm_password", "ConfirmPassword", "Credentials", "Empty").build())
        .method(method("sign_out", "SignOut", "Empty", "Empty").build())
        .build();
    let balances = Service::builder()
        .package("bank")
        .name("Balances")
        .method(method("read", "Read", "Empty", "Balance").build())
        .method(method("watch", "Watch", "Empty", "Balance").server_streaming().build())
        .build();
    let payments = Service::builder()
        .package("bank")
        .name("Payments")
        .method(method("pay", "Pay", "Payment", "Balance").build())
        .build();
    Builder::new().build_transport(false).compile(&[accounts, balances, payments]);
}
