/// A message for the next page, such as "saved" or "signed in from a new device".
///
/// It stays with the session until it is [taken](crate::Manager::take_flashes).
///
/// ```
/// use kvolt_cache::MemoryStore;
/// use kvolt_session::{Flash, Manager};
///
/// # pollster::block_on(async {
/// let manager = Manager::<String>::new(MemoryStore::new());
/// let token = manager.create(String::from("Ada")).await?;
/// manager.flash(&token, Flash::new("success", "saved")).await?;
///
/// let flashes = manager.take_flashes(&token).await?;
/// assert_eq!((flashes[0].kind(), flashes[0].text()), ("success", "saved"));
/// assert!(manager.take_flashes(&token).await?.is_empty());
/// # Ok::<(), kvolt_session::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct Flash {
    kind: Box<str>,
    text: Box<str>,
}

impl Flash {
    /// How many messages a session holds at most; a further one removes the oldest.
    pub const MAX_WAITING: usize = 16;

    /// The longest text, in bytes; a longer one is cut.
    pub const MAX_TEXT_LEN: usize = 1_024;

    /// The longest name of a kind, in bytes; a longer one is cut.
    pub const MAX_KIND_LEN: usize = 32;

    /// Makes a message of a kind, such as `success`, `info` or `error`.
    pub fn new(kind: &str, text: &str) -> Self {
        Self {
            kind: cut(kind, Self::MAX_KIND_LEN).into(),
            text: cut(text, Self::MAX_TEXT_LEN).into(),
        }
    }

    /// The kind.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The text. It is no markup: a page must escape it.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// The beginning of a text, of at most `len_max` bytes.
pub(crate) fn cut(text: &str, len_max: usize) -> &str {
    let mut end = text.len().min(len_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
