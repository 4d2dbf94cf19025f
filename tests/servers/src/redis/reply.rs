use std::fmt;

/// A reply of Redis other than an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// A simple string, such as `OK`.
    Status(String),
    /// An integer.
    Integer(i64),
    /// A bulk string.
    Bytes(Vec<u8>),
    /// Nil.
    Nil,
    /// A list of replies.
    List(Vec<Reply>),
}

impl Reply {
    /// Returns the number, if the reply is an integer.
    pub fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// Returns the value, if the reply is a bulk string.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Returns the elements, if the reply is a list.
    pub fn list(&self) -> Option<&[Self]> {
        match self {
            Self::List(list) => Some(list),
            _ => None,
        }
    }
}

/// The format of redis-cli when it prints to a pipe; invalid UTF-8 becomes replacement
/// characters.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(word) => f.write_str(word),
            Self::Integer(number) => number.fmt(f),
            Self::Bytes(bytes) => f.write_str(&String::from_utf8_lossy(bytes)),
            Self::Nil => Ok(()),
            Self::List(list) => {
                for (at, element) in list.iter().enumerate() {
                    if at > 0 {
                        f.write_str("\n")?;
                    }
                    element.fmt(f)?;
                }
                Ok(())
            }
        }
    }
}
