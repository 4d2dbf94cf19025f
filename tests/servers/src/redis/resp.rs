//! A minimal client for the Redis protocol (RESP 2).
//!
//! Not a client library: the tests test such libraries.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::Reply;
use crate::failure::During;
use crate::{Failure, wait};

pub(super) struct Connection {
    stream: BufReader<UnixStream>,
}

impl Connection {
    pub(super) fn open(socket: &Path) -> Result<Self, Failure> {
        let what = format_args!("{} can't be reached", socket.display());
        let stream = UnixStream::connect(socket).during(what)?;
        // A paused server accepts the connection but never answers.
        stream.set_read_timeout(Some(wait::TIMEOUT)).during("the read timeout can't be set")?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    pub(super) fn command<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Result<Reply, Failure> {
        self.send(args)?;
        let name =
            args.first().map(|arg| String::from_utf8_lossy(arg.as_ref())).unwrap_or_default();
        self.read()?.map_err(|error| Failure::new(format!("Redis rejected {name}: {error}")))
    }

    fn send<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Result<(), Failure> {
        let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
        for arg in args {
            let arg = arg.as_ref();
            bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            bytes.extend_from_slice(arg);
            bytes.extend_from_slice(b"\r\n");
        }
        self.stream.get_mut().write_all(&bytes).during("the command could not be sent to Redis")
    }

    /// Reads the next reply, or the error reply of the server.
    pub(super) fn read(&mut self) -> Result<Result<Reply, String>, Failure> {
        let line = self.line()?;
        let (kind, rest) = line.split_at_checked(1).ok_or_else(|| malformed(&line))?;
        let number = || rest.parse::<i64>().map_err(|_| malformed(&line));
        let reply = match kind {
            "+" => Reply::Status(rest.to_owned()),
            "-" => return Ok(Err(rest.to_owned())),
            ":" => Reply::Integer(number()?),
            "$" => match usize::try_from(number()?) {
                Ok(length) => Reply::Bytes(self.bytes(length)?),
                Err(_) => Reply::Nil,
            },
            "*" => match usize::try_from(number()?) {
                Ok(length) => Reply::List(self.list(length)?),
                Err(_) => Reply::Nil,
            },
            _ => return Err(malformed(&line)),
        };
        Ok(Ok(reply))
    }

    fn list(&mut self, length: usize) -> Result<Vec<Reply>, Failure> {
        let element = |_| match self.read()? {
            Ok(reply) => Ok(reply),
            // An error inside a list, for example in the reply to EXEC.
            Err(error) => Ok(Reply::Status(error)),
        };
        (0..length).map(element).collect()
    }

    fn bytes(&mut self, length: usize) -> Result<Vec<u8>, Failure> {
        let mut bytes = vec![0; length + 2];
        self.stream.read_exact(&mut bytes).during("Redis did not answer")?;
        bytes.truncate(length);
        Ok(bytes)
    }

    fn line(&mut self) -> Result<String, Failure> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).during("Redis did not answer")?;
        match line.strip_suffix(b"\r\n") {
            Some(line) => Ok(String::from_utf8_lossy(line).into_owned()),
            None => Err(Failure::new("Redis closed the connection")),
        }
    }

    /// Returns the socket, so that another thread can close the connection.
    pub(super) fn socket(&self) -> Result<UnixStream, Failure> {
        self.stream.get_ref().try_clone().during("a socket can't be shared")
    }

    /// Removes the read timeout.
    pub(super) fn wait_forever(&self) -> Result<(), Failure> {
        self.stream.get_ref().set_read_timeout(None).during("the read timeout can't be set")
    }
}

fn malformed(line: &str) -> Failure {
    Failure::fatal(format!("Redis answered `{line}`"))
}
