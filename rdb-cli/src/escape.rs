/// The bytes as text that a terminal can show: what is not printable, and the backslash, is escaped.
pub(crate) fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\'' | '"' => text.push(character),
                _ => text.extend(character.escape_debug()),
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

/// The same, cut to what fits into a line of a table; what was cut is said with `advice`.
pub(crate) fn escape_cut(bytes: &[u8], advice: &str) -> String {
    const SHOWN: usize = 100;
    if bytes.len() <= SHOWN {
        return escape(bytes);
    }
    // Not through the middle of a character, where it is text.
    let end = (SHOWN - 3..=SHOWN).rev().find(|end| bytes[*end] & 0xc0 != 0x80).unwrap_or(SHOWN);
    format!("{}... ({} bytes{advice})", escape(&bytes[..end]), bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_printed_is_printed() {
        assert_eq!(escape("plain 'text' \"ü\"".as_bytes()), "plain 'text' \"ü\"");
        assert_eq!(escape(b"a\tb\nc\\d\x1b[31m\x00"), r"a\tb\nc\\d\u{1b}[31m\0");
        assert_eq!(escape(b"\xff\xc3"), r"\xff\xc3");
        assert_eq!(escape("\u{202e}".as_bytes()), r"\u{202e}");
    }

    #[test]
    fn a_long_value_is_cut_between_characters() {
        assert_eq!(escape_cut(&[b'x'; 100], "").len(), 100);
        let text = "ü".repeat(60);
        assert_eq!(escape_cut(text.as_bytes(), ""), format!("{}... (120 bytes)", "ü".repeat(50)));
        let text = format!("x{text}");
        assert_eq!(escape_cut(text.as_bytes(), ""), format!("x{}... (121 bytes)", "ü".repeat(49)));
    }
}
