//! Counts the commands that a client sends.

/// Counts the commands in a client's byte stream. Supports the protocols of Redis,
/// PostgreSQL and MySQL, without TLS; any other stream has no commands.
#[derive(Debug, Default)]
pub(super) struct Commands {
    protocol: Option<Protocol>,
    /// Received part of an incomplete message; for a long message, only its head.
    head: Vec<u8>,
    /// Remaining bytes of the current message, which are skipped.
    skip: usize,
}

#[derive(Debug, Clone, Copy)]
enum Protocol {
    /// The number of strings that a command still lacks; zero between commands.
    Redis {
        strings: usize,
    },
    /// A client's first message has no type byte.
    Postgres {
        has_started: bool,
    },
    MySql,
    Unknown,
}

/// Result of parsing the head of a message.
enum Head {
    /// More bytes are needed.
    Partial,
    /// The length of the head, and the number of bytes after it to skip.
    Message { head: usize, rest: usize, commands: u64 },
    /// The bytes do not match the protocol.
    Invalid,
}

/// A longer line or head is not valid.
const MAX_HEAD: usize = 1024;

impl Commands {
    /// Returns how many commands begin in these bytes.
    pub(super) fn count(&mut self, mut bytes: &[u8]) -> u64 {
        let mut commands = 0;
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            if bytes.is_empty() && self.head.is_empty() {
                return commands;
            }
            let before = self.head.len();
            let taken = bytes.len().min(MAX_HEAD - before);
            self.head.extend_from_slice(&bytes[..taken]);
            match self.read_head() {
                Head::Partial if self.head.len() < MAX_HEAD => return commands,
                Head::Partial | Head::Invalid => {
                    *self = Self { protocol: Some(Protocol::Unknown), ..Self::default() };
                    return commands;
                }
                Head::Message { head, rest, commands: begun } => {
                    commands += begun;
                    self.skip = rest;
                    if head < before {
                        // The first bytes of the stream, which were buffered until the
                        // protocol was known.
                        self.head.truncate(before);
                        self.head.drain(..head);
                    } else {
                        bytes = &bytes[head - before..];
                        self.head.clear();
                    }
                }
            }
        }
    }

    fn read_head(&mut self) -> Head {
        let head = &self.head[..];
        let Some(protocol) = &mut self.protocol else {
            let [first, _, third, fourth, ..] = head else { return Head::Partial };
            self.protocol = Some(match (first, third, fourth) {
                (0, ..) => Protocol::Postgres { has_started: false },
                // The answer to a greeting: a short packet with sequence number 1.
                (_, 0, 1) => Protocol::MySql,
                _ => Protocol::Redis { strings: 0 },
            });
            return self.read_head();
        };
        match protocol {
            Protocol::Redis { strings } => read_redis(head, strings),
            Protocol::Postgres { has_started } => read_postgres(head, has_started),
            Protocol::MySql => read_mysql(head),
            Protocol::Unknown => Head::Message { head: head.len(), rest: 0, commands: 0 },
        }
    }
}

fn read_redis(head: &[u8], strings: &mut usize) -> Head {
    let Some(end) = head.iter().position(|byte| *byte == b'\n') else { return Head::Partial };
    let number = || std::str::from_utf8(&head[1..end]).ok()?.trim_end().parse::<usize>().ok();
    match (head[0], *strings) {
        (b'*', 0) => match number() {
            Some(number) => {
                *strings = number;
                Head::Message { head: end + 1, rest: 0, commands: 1 }
            }
            None => Head::Invalid,
        },
        (b'$', 1..) => match number() {
            Some(length) => {
                *strings -= 1;
                Head::Message { head: end + 1, rest: length + 2, commands: 0 }
            }
            None => Head::Invalid,
        },
        // An inline command.
        (_, 0) => Head::Message { head: end + 1, rest: 0, commands: 1 },
        _ => Head::Invalid,
    }
}

fn read_postgres(head: &[u8], has_started: &mut bool) -> Head {
    /// Codes of the requests for TLS, encryption or cancellation, which start no session.
    const REQUESTS: std::ops::RangeInclusive<u32> = 80_877_102..=80_877_104;
    let at = |at: usize| Some(u32::from_be_bytes(*head.get(at..)?.first_chunk()?));
    if *has_started {
        let Some(length) = at(1) else { return Head::Partial };
        let commands = u64::from([b'Q', b'E'].contains(&head[0]));
        let Some(rest) = (length as usize).checked_sub(4) else { return Head::Invalid };
        return Head::Message { head: 5, rest, commands };
    }
    let (Some(length), Some(code)) = (at(0), at(4)) else { return Head::Partial };
    *has_started = !REQUESTS.contains(&code);
    match (length as usize).checked_sub(8) {
        Some(rest) => Head::Message { head: 8, rest, commands: 0 },
        None => Head::Invalid,
    }
}

fn read_mysql(head: &[u8]) -> Head {
    /// Commands for a query and for the execution of a prepared statement.
    const EXECUTES: [u8; 2] = [0x03, 0x17];
    let [low, middle, high, number, command, ..] = *head else { return Head::Partial };
    let length = u32::from_le_bytes([low, middle, high, 0]) as usize;
    let commands = u64::from(number == 0 && EXECUTES.contains(&command));
    match length.checked_sub(1) {
        Some(rest) => Head::Message { head: 5, rest, commands },
        None => Head::Invalid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts the commands in the bytes, and asserts that splitting the bytes does not
    /// change the count.
    fn commands(bytes: &[u8]) -> u64 {
        let whole = Commands::default().count(bytes);
        for size in [1, 2, 3, 7, 1_000] {
            let mut counted = Commands::default();
            let cut: u64 = bytes.chunks(size).map(|piece| counted.count(piece)).sum();
            assert_eq!(cut, whole, "split into pieces of {size} bytes");
        }
        whole
    }

    #[test]
    fn redis_commands_are_counted() {
        let long = "x".repeat(5_000);
        let set = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5000\r\n{long}\r\n");
        assert_eq!(commands(set.as_bytes()), 1);
        let inside = "*2\r\n$3\r\nGET\r\n$12\r\n*1\r\n$4\r\nPING\r\n";
        assert_eq!(commands(format!("PING\r\n{set}{inside}{set}").as_bytes()), 4);
        assert_eq!(commands(b"\nPING\n"), 2);
    }

    #[test]
    fn postgresql_statements_are_counted() {
        let tagged = |tag: u8, body: &[u8]| {
            let length = (body.len() as u32 + 4).to_be_bytes();
            [&[tag], &length[..], body].concat()
        };
        let mut bytes = [8u32.to_be_bytes(), 80_877_103u32.to_be_bytes()].concat();
        bytes.extend([16u32.to_be_bytes(), 196_608u32.to_be_bytes()].concat());
        bytes.extend(b"user\0a\0\0");
        for (tag, body) in [(b'p', &b"secret"[..]), (b'Q', b"BEGIN\0"), (b'P', b"\0SELECT 1\0\0\0")]
        {
            bytes.extend(tagged(tag, body));
        }
        for (tag, body) in [(b'B', &[0; 2_000][..]), (b'E', b"\0\0\0\0\0"), (b'S', b"")] {
            bytes.extend(tagged(tag, body));
        }
        assert_eq!(commands(&bytes), 2);
    }

    #[test]
    fn mysql_statements_are_counted() {
        let packet = |number: u8, body: &[u8]| {
            let length = (body.len() as u32).to_le_bytes();
            [&length[..3], &[number], body].concat()
        };
        let mut bytes = packet(1, &[7; 90]);
        bytes.extend(packet(3, b"\x03more of the greeting"));
        for body in [&b"\x03SELECT 1"[..], b"\x16SELECT ?", &[0x17; 3_000], b"\x19\0\0\0\0"] {
            bytes.extend(packet(0, body));
        }
        assert_eq!(commands(&bytes), 2);
    }

    #[test]
    fn unknown_protocol_has_no_commands() {
        assert_eq!(commands(&[0; 3_000]), 0);
        assert_eq!(commands(&[b'x'; 3_000]), 0);
        assert_eq!(commands(b"*x\r\nPING\r\n"), 0);
    }
}
