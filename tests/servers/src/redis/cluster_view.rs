//! One node's view of a cluster.

use crate::Failure;

/// A line of `CLUSTER NODES`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NodeLine {
    pub(super) port: u16,
    pub(super) id: String,
    /// The id of its master, if it is a replica.
    pub(super) master: Option<String>,
    /// First and last of the slots that it serves.
    pub(super) slots: Vec<(u16, u16)>,
    /// Neither failing nor still being introduced.
    pub(super) is_well: bool,
}

/// Sorted, so that the views of two nodes that agree are equal.
pub(super) fn parse(text: &str) -> Result<Vec<NodeLine>, Failure> {
    let malformed = |line: &str| Failure::last(format!("CLUSTER NODES says `{line}`"));
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
    let is_well = !flags.iter().any(|flag| sick.contains(flag));
    // A slot in brackets is being moved. The node that still serves it lists it without brackets too.
    let slots = words.skip(4).filter(|word| !word.starts_with('[')).map(slots);
    Some(NodeLine { port, id, master, slots: slots.collect::<Option<_>>()?, is_well })
}

fn slots(range: &str) -> Option<(u16, u16)> {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    Some((first.parse().ok()?, last.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_is_read_whatever_the_state_of_its_nodes() {
        let text = "\
            b2 127.0.0.1:7002@17002 slave,fail? a1 1 2 3 connected\n\
            a1 127.0.0.1:7001@17001,host myself,master - 0 0 1 connected 0-5 7 [9->-b2]\n";
        let [master, replica] = &parse(text).expect("it is well formed")[..] else {
            panic!("there are two");
        };
        assert_eq!((master.port, master.is_well, &master.master), (7001, true, &None));
        assert_eq!(master.slots, [(0, 5), (7, 7)]);
        assert_eq!((replica.is_well, replica.master.as_deref()), (false, Some("a1")));
        assert!(parse("nonsense").is_err());
    }
}
