use std::io::copy;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::thread;

/// Forwards connections to several servers in turn, until the program ends, and returns its port:
/// a load balancer. As [`Client`](crate::Client) opens a connection for each request, its requests
/// alternate.
pub fn alternate(ports: &[u16]) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let ports = ports.to_vec();
    thread::spawn(move || {
        for (client, port) in listener.incoming().flatten().zip(ports.iter().cycle()) {
            if let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, *port)) {
                forward(&client, &server);
                forward(&server, &client);
            }
        }
    });
    address.port()
}

fn forward(from: &TcpStream, to: &TcpStream) {
    let (mut from, mut to) = (from.try_clone().expect("a socket"), to.try_clone().expect("one"));
    thread::spawn(move || {
        let _ = copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
}
