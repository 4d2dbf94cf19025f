use std::fmt;
use std::str::FromStr;

/// Where sessions are stored. A URL may contain a password, so `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct StoreUrl {
    pub(crate) kind: StoreKind,
    pub(crate) url: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoreKind {
    Memory,
    Sqlite,
    Redis,
    Postgres,
    MySql,
}

const STORES: &str = "memory:, sqlite:PATH, redis://, rediss://, postgres:// and mysql://";

impl StoreKind {
    /// How its URLs begin, which is also the name of the feature that builds it.
    pub(crate) const fn scheme(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Sqlite => "sqlite",
            Self::Redis => "redis",
            Self::Postgres => "postgres",
            Self::MySql => "mysql",
        }
    }
}

impl FromStr for StoreUrl {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        let Some((scheme, rest)) = url.split_once(':') else {
            return Err(format!("write a URL; the stores are {STORES}"));
        };
        let kind = match scheme {
            "memory" if rest.is_empty() => StoreKind::Memory,
            "memory" => return Err(String::from("write nothing after `memory:`")),
            "sqlite" => StoreKind::Sqlite,
            "redis" | "rediss" | "unix" | "redis+sentinel" | "rediss+sentinel"
            | "redis+cluster" | "rediss+cluster" => StoreKind::Redis,
            "postgres" | "postgresql" => StoreKind::Postgres,
            "mysql" | "mariadb" => StoreKind::MySql,
            _ => return Err(format!("unknown store; the stores are {STORES}")),
        };
        Ok(Self { kind, url: url.to_owned() })
    }
}

impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::Sqlite => "SQLite",
            Self::Redis => "Redis",
            Self::Postgres => "PostgreSQL",
            Self::MySql => "MySQL or MariaDB",
        })
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreUrl({}:…)", self.kind.scheme())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_lists_the_stores() {
        assert_eq!("memory:".parse::<StoreUrl>().unwrap().kind, StoreKind::Memory);
        for url in ["memcached://localhost", "", "memory", "memory:x"] {
            let error = url.parse::<StoreUrl>().unwrap_err();
            assert!(error.contains("memory:"), "{url}: {error}");
        }
    }

    #[test]
    fn debug_does_not_show_a_password() {
        for url in ["redis://:secret@localhost", "postgres://ada:secret@localhost/db"] {
            let url: StoreUrl = url.parse().unwrap();
            assert!(!format!("{url:?}").contains("secret"));
        }
    }
}
