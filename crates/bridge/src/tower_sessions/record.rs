//! A record of tower-sessions: an array of its id, its values and its end, in MessagePack.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kvolt_cache::Timestamp;
use serde_json::Value;

use super::message_pack::{Packed, read};
use crate::{OldSession, OldSessionError};

#[cfg(any(feature = "postgres", feature = "redis", feature = "sqlite"))]
/// The id in a cookie's value: 16 bytes in base64url. `None` if it has another form.
pub(super) fn id(value: &str) -> Option<String> {
    id_bytes(value).map(|_| value.to_owned())
}

fn id_bytes(value: &str) -> Option<[u8; 16]> {
    let mut bytes = [0; 16];
    let is_whole = value.len() == 22 && URL_SAFE_NO_PAD.decode_slice(value, &mut bytes) == Ok(16);
    is_whole.then_some(bytes)
}

/// Reads the record of an id.
pub(crate) fn session(id: &str, bytes: &[u8]) -> Result<OldSession, OldSessionError> {
    parse(id, bytes)
        .ok_or_else(|| OldSessionError::unreadable("it is no record of tower-sessions 0.14"))
}

fn parse(id: &str, bytes: &[u8]) -> Option<OldSession> {
    let Packed::Array(fields) = read(bytes, 1)? else { return None };
    let [Packed::Bytes(own_id), Packed::Json(Value::Object(values)), Packed::Json(end)] =
        <[Packed; 3]>::try_from(fields).ok()?
    else {
        return None;
    };
    // The number is big-endian here, and little-endian in the cookie.
    let is_own = id_bytes(id)?.iter().rev().eq(&own_id);
    let end = timestamp(end.as_array()?)?;
    is_own.then(|| values.into_iter().collect::<OldSession>().expiring_at(end))
}

/// The moment of nine numbers: year, day of the year, hour, minute, second, nanosecond, and the
/// offset from UTC in hours, minutes and seconds.
fn timestamp(fields: &[Value]) -> Option<Timestamp> {
    let numbers = fields.iter().map(Value::as_i64).collect::<Option<Vec<_>>>()?;
    let [year, day, hour, minute, second, nanosecond, hours, minutes, seconds] = numbers[..] else {
        return None;
    };
    let is_valid = (0..=9_999).contains(&year)
        && (1..=366).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..60).contains(&second)
        && (0..1_000_000_000).contains(&nanosecond)
        && [hours, minutes, seconds].iter().all(|part| (-59..=59).contains(part));
    if !is_valid {
        return None;
    }
    let leap_days = |year: i64| year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let days = 365 * (year - 1970) + leap_days(year - 1) - leap_days(1969) + day - 1;
    let clock = (hour - hours) * 3_600 + (minute - minutes) * 60 + second - seconds;
    let millis = (days * 86_400 + clock) * 1_000 + nanosecond / 1_000_000;
    Some(Timestamp::from_millis(u64::try_from(millis).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ID: &str = "AAECAwQFBgcICQoLDA0ODw";

    fn record() -> Vec<u8> {
        let mut record = b"\x93\xc4\x10".to_vec();
        record.extend((0..16).rev());
        record.extend(b"\x81\xa4user\xa3ada");
        record.extend(b"\x99\xcd\x07\xf4\x3c\x0c\x1e\x0f\xce\x1d\xcd\x65\x00\x00\x00\x00");
        record
    }

    #[test]
    fn record_is_read_with_its_end() {
        let session = session(ID, &record()).unwrap();
        assert_eq!(session.values(), json!({ "user": "ada" }).as_object().unwrap());
        // The 60th day of 2036, a leap year: 29 February, 12:30:15.5.
        assert_eq!(session.expires_at(), Some(Timestamp::from_millis(2_087_901_015_500)));
    }

    #[test]
    fn records_of_another_form_are_unreadable() {
        let whole = record();
        for len in 0..whole.len() {
            assert!(!session(ID, &whole[..len]).unwrap_err().is_unavailable(), "{len}");
        }
        assert!(session("AQECAwQFBgcICQoLDA0ODw", &whole).is_err(), "the id is another");
        let mut longer = whole;
        longer.push(0);
        assert!(session(ID, &longer).is_err());
    }

    #[test]
    fn moments_are_those_of_the_calendar() {
        let millis = |year, day, offset: i64| {
            let fields = [year, day, 0, 0, 0, 0, offset, 0, 0].map(Value::from);
            timestamp(&fields).map(Timestamp::as_millis)
        };
        // By Python's `datetime`.
        assert_eq!(millis(1970, 1, 0), Some(0));
        assert_eq!(millis(2000, 366, 0), Some(978_220_800_000));
        assert_eq!(millis(2100, 60, 0), Some(4_107_542_400_000));
        assert_eq!(millis(2024, 1, 2), Some(1_704_060_000_000));
        assert_eq!(millis(1969, 1, 0), Some(0));
        assert_eq!(millis(10_000, 1, 0), None);
        for offset in [60, -60, i64::MIN, i64::MAX] {
            assert_eq!(millis(2024, 1, offset), None, "{offset}");
        }
        assert_eq!(millis(2024, 0, 0), None);
    }

    #[test]
    fn id_has_22_characters_of_base64url() {
        assert_eq!(id(ID).as_deref(), Some(ID));
        for bad in ["", "AAECAwQFBgcICQoLDA0OD", "AAECAwQFBgcICQoLDA0OD+", "AAECAwQFBgcICQoLDA0ODz"]
        {
            assert_eq!(id(bad), None, "{bad}");
        }
    }
}
