use kvolt_session::Token;

/// Exactly the canonical texts are tokens, and a token shows nothing of itself.
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
    assert!(Token::parse(token.expose()).is_some());
    assert_eq!(format!("{token:?}"), "Token(..)");
}

/// 43 characters of base64url, of which the last leaves the two bits unset that 32 bytes do not
/// fill.
pub fn is_token(text: &[u8]) -> bool {
    let (true, Some(last)) = (text.len() == Token::LEN, text.last()) else {
        return false;
    };
    let in_alphabet = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
    text.iter().all(in_alphabet) && b"AEIMQUYcgkosw048".contains(last)
}
