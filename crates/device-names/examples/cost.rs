//! Prints how long a name takes, also of the slowest known user agents:
//! `cargo run -p kvolt-device-names --release --example cost`
#![allow(clippy::print_stdout, reason = "it prints a table")]
#![allow(clippy::disallowed_methods, reason = "it measures time")]

use std::time::Instant;

use kvolt_device_names::{name, prepare};

fn main() {
    let start = Instant::now();
    prepare();
    println!("{:>10?} to prepare", start.elapsed());
    for (what, user_agent) in [
        ("Chrome", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36".to_owned()),
        ("spaces", " ".repeat(512)),
        ("digits", "1.".repeat(256)),
        ("letters", "a".repeat(512)),
        ("half a bot", "bot/".repeat(128)),
        ("parts", "Mozilla Linux Android iPhone Mobile Windows Opera Version Safari Chrome Firefox ".repeat(7)),
        ("many", "Mozilla/5.0 (compatible; MSIE Nokia Series BlackBerry webOS Symbian ArcGIS Kindle Fire Tizen CrOS ".repeat(6)),
    ] {
        name(&user_agent);
        let start = Instant::now();
        for _ in 0..100 {
            std::hint::black_box(name(&user_agent));
        }
        println!("{:>10?} for {what}", start.elapsed() / 100);
    }
}
