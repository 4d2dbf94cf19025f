//! One node's view of the cluster.

use crate::Failure;

/// A line of the reply to `CLUSTER NODES`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NodeLine {
    pub(super) port: u16,
    pub(super) id: String,
    /// The id of its master, if it is a replica.
    pub(super) master: Option<String>,
    /// Ranges of slots that it serves (first, last).
    pub(super) slots: Vec<(u16, u16)>,
    /// Neither failing nor in the handshake.
    pub(super) is_healthy: bool,
}

/// Parses and sorts the lines, so that the views of two agreeing nodes are equal.
pub(super) fn parse(text: &str) -> Result<Vec<NodeLine>, Failure> {
    let malformed =
        |line: &str| Failure::fatal(format!("malformed line in CLUSTER NODES: `{line}`"));
    let mut lines: Vec<NodeLine> = text
        .lines()
        .map(|line| parse_line(line).ok_or_else(|| malformed(line)))
        .collect::<Result<_, _>>()?;
    lines.sort();
    Ok(lines)
}

/// `ID IP:PORT@BUS[,HOST] FLAGS MASTER PING PONG EPOCH LINK SLOTS…`
fn parse_line(line: &str) -> Option<NodeLine> {
    let mut words = line.split_whitespace();
    let id = words.next()?.to_owned();
    let (address, _) = words.next()?.split_once('@')?;
    let port = address.rsplit_once(':')?.1.parse().ok()?;
    let flags: Vec<&str> = words.next()?.split(',').collect();
    let master = words.next().filter(|word| *word != "-").map(str::to_owned);
    let sick = ["fail", "fail?", "handshake", "noaddr"];
    let is_healthy = !flags.iter().any(|flag| sick.contains(flag));
    // A slot in brackets is being moved; its current owner also lists it without brackets.
    let slots = words.skip(4).filter(|word| !word.starts_with('[')).map(slots);
    Some(NodeLine { port, id, master, slots: slots.collect::<Option<_>>()?, is_healthy })
}

fn slots(range: &str) -> Option<(u16, u16)> {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    Some((first.parse().ok()?, last.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cluster_view_parses_every_node_state() {
        let text = "\
            b2 127.0.0.1:7002@17002 slave,fail? a1 1 2 3 connected\n\
            a1 127.0.0.1:7001@17001,host myself,master - 0 0 1 connected 0-5 7 [9->-b2]\n";
        let [master, replica] = &parse(text).expect("the text is well formed")[..] else {
            panic!("expected two nodes");
        };
        assert_eq!((master.port, master.is_healthy, &master.master), (7001, true, &None));
        assert_eq!(master.slots, [(0, 5), (7, 7)]);
        assert_eq!((replica.is_healthy, replica.master.as_deref()), (false, Some("a1")));
        assert!(parse("nonsense").is_err());
    }
}
