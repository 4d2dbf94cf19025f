//! t
#![allow(clippy::all, clippy::disallowed_methods, clippy::print_stdout)]
use kvolt_servers::*;
#[test]
fn repro() {
    for round in 0..40 {
        let cluster = RedisCluster::start();
        let owner = 1;
        let heir = cluster.fail_over(owner);
        cluster.restart(owner);
        cluster.promote(owner);
        cluster.nodes()[owner].pause();
        let mut last = String::new();
        let r = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            cluster.wait_until_replaced(owner)
        }));
        if r.is_err() {
            for n in [0, 2, 3, 4, 5] {
                println!(
                    "node {n} {}\n{}",
                    cluster.nodes()[n].port(),
                    cluster.cli_on(n, &["CLUSTER", "NODES"])
                );
                println!("{}", cluster.nodes()[n].log());
            }
            println!("owner {}\n{}", cluster.nodes()[owner].port(), cluster.nodes()[owner].log());
            println!(
                "nodes.conf {}",
                std::fs::read_to_string(cluster.nodes()[owner].folder().join("nodes.conf"))
                    .unwrap()
            );
            panic!("round {round}");
        }
        println!("round {round}");
        let _ = (&mut last, heir);
    }
}
