use std::fmt;

/// A reply of Redis that is not an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// A word, such as `OK`.
    Status(String),
    /// A number.
    Integer(i64),
    /// A value.
    Bytes(Vec<u8>),
    /// Nothing.
    Nil,
    /// A list of replies.
    List(Vec<Reply>),
}

impl Reply {
    /// The number, if it is one.
    pub fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// The value, if it is one.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The elements, if it is a list.
    pub fn list(&self) -> Option<&[Self]> {
        match self {
            Self::List(list) => Some(list),
            _ => None,
        }
    }
}

/// The reply as redis-cli prints it to a pipe. Invalid UTF-8 becomes replacement characters.
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
