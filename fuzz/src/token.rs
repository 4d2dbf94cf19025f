use kvolt_session::{SessionId, Token};

/// Exactly the texts of 48 characters of base64url are tokens, and a token shows nothing of itself
/// but its id, which the first 16 characters are.
///
/// # Panics
///
/// If that does not hold.
pub fn token(data: &[u8]) {
    let Some(token) = Token::parse(data) else {
        assert!(!is_token(data), "a token was refused");
        return;
    };
    assert!(is_token(data), "something that is no token was accepted");
    assert_eq!(token.expose().as_bytes(), data);
    assert_eq!(format!("{token:?}"), "Token(..)");
    let mut other = data.to_vec();
    other[16..].fill(b'A');
    assert_eq!(Token::parse(&other).map(|other| other.id()), Some(token.id()));
    other[15] = if other[15] == b'A' { b'B' } else { b'A' };
    assert_ne!(Token::parse(&other).map(|other| other.id()), Some(token.id()));
    assert_eq!(token.id().to_string().parse::<SessionId>(), Ok(token.id()));
}

/// 48 characters of base64url, which are exactly 36 bytes.
pub fn is_token(text: &[u8]) -> bool {
    let in_alphabet = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
    text.len() == Token::LEN && text.iter().all(in_alphabet)
}
