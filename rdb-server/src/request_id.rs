use std::fmt;

use hyper::HeaderMap;
use hyper::header::HeaderValue;

/// Where a request carries the id that its client's logs have too.
const HEADER: &str = "x-request-id";
/// A longer one is nobody's id.
const LONGEST: usize = 64;

/// What a client calls its request, if that is what logs can show.
#[derive(Debug)]
pub(crate) enum RequestId {
    None,
    Header(HeaderValue),
    Text(String),
}

impl RequestId {
    /// That of a request of its own.
    pub(crate) fn of_headers(headers: &HeaderMap) -> Self {
        let id = headers.get(HEADER).filter(|id| is_id(id.as_bytes()));
        id.map_or(Self::None, |id| Self::Header(id.clone()))
    }

    /// That of a command; none is empty.
    pub(crate) fn of_command(id: String) -> Self {
        if !id.is_empty() && is_id(id.as_bytes()) { Self::Text(id) } else { Self::None }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("-"),
            Self::Header(id) => f.write_str(&String::from_utf8_lossy(id.as_bytes())),
            Self::Text(id) => f.write_str(id),
        }
    }
}

/// Whether it is an id that logs can show as it is. A space in it could look like a field of its own, and what is
/// no ASCII could have a terminal do things.
fn is_id(bytes: &[u8]) -> bool {
    bytes.len() <= LONGEST && bytes.iter().all(|byte| IS_PLAIN[usize::from(*byte)])
}

/// By byte: every command of a pipeline has an id.
const IS_PLAIN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        let character = byte as u8;
        table[byte] = character.is_ascii_alphanumeric()
            || matches!(character, b'-' | b'_' | b'.' | b':' | b'+' | b'/' | b'=' | b'@');
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_what_logs_can_show_as_it_is() {
        let longest = "7".repeat(LONGEST);
        for id in ["7b-01", "00-4bf92f3577b34da6-01", "a_b.c:d+e/f==@g", &longest] {
            assert!(is_id(id.as_bytes()), "{id}");
        }
        let too_long = "7".repeat(LONGEST + 1);
        for id in ["a method=put", "a\tb", "a\u{9b}31m", "\u{202e}a", "a\"b", "a}:b{", "a,b", &too_long] {
            assert!(!is_id(id.as_bytes()), "{id:?}");
        }
        assert!(!is_id(b"a\x9b31m"));
    }
}
