use std::borrow::Cow;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use clap::ValueEnum;
use rdb_client::{Bytes, Key, Limits, MAX_KEY_BYTES};
use serde::{Deserialize, Serialize};

/// What a file of records holds, a record a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Key, TAB, value, newline; no escapes
    Tsv,
    /// {"key": .., "value": ..}, both in base64; for any bytes
    Jsonl,
}

/// A line of jsonl. Unknown fields are refused: to drop what they say would lose data.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonLine<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
    #[serde(borrow)]
    value: Cow<'a, str>,
}

impl Format {
    /// The format that a file's ending tells.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "tsv" => Some(Self::Tsv),
            "jsonl" => Some(Self::Jsonl),
            _ => None,
        }
    }

    /// The longest line that can hold a record, in bytes, without its newline.
    pub(crate) const fn max_line_bytes(self, limits: &Limits) -> usize {
        let record = MAX_KEY_BYTES.saturating_add(limits.max_value_bytes);
        match self {
            Self::Tsv => record.saturating_add(1),
            // Four characters for three bytes, names and signs, and some blanks if someone likes them.
            Self::Jsonl => (record / 3 + 2).saturating_mul(4).saturating_add(1024),
        }
    }

    /// Reads a line, without its newline.
    pub(crate) fn decode(self, line: &[u8], limits: &Limits) -> Result<(Key, Bytes), String> {
        if line.is_empty() {
            return Err("empty line".to_owned());
        }
        let (key, value) = match self {
            Self::Tsv => {
                let tab = line.iter().position(|byte| *byte == b'\t').ok_or("there is no TAB")?;
                let (key, value) = (&line[..tab], &line[tab + 1..]);
                if value.contains(&b'\t') {
                    return Err("there is more than one TAB".to_owned());
                }
                (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value))
            }
            Self::Jsonl => {
                let line: JsonLine<'_> = serde_json::from_slice(line).map_err(|error| reason(&error))?;
                let decode = |name: &str, text: &str| {
                    let bytes = BASE64_STANDARD.decode(text);
                    bytes.map(Bytes::from).map_err(|error| format!("{name} is not base64: {error}"))
                };
                (decode("key", &line.key)?, decode("value", &line.value)?)
            }
        };
        let key = Key::new(key).map_err(|error| error.to_string())?;
        let limit = limits.max_value_bytes.min(limits.max_batch_bytes.saturating_sub(key.len()));
        if value.len() > limit {
            return Err(format!("value is too long: {} bytes; this node takes {limit}", value.len()));
        }
        Ok((key, value))
    }

    /// Appends a record as a line.
    pub(crate) fn encode(self, key: &Key, value: &[u8], lines: &mut Vec<u8>) -> Result<(), String> {
        match self {
            Self::Tsv => {
                let unfit = |bytes: &[u8]| bytes.iter().any(|byte| matches!(byte, b'\t' | b'\n'));
                let what = match (unfit(key.as_bytes()), unfit(value)) {
                    (true, _) => "key",
                    (_, true) => "value",
                    _ => {
                        lines.extend_from_slice(key.as_bytes());
                        lines.push(b'\t');
                        lines.extend_from_slice(value);
                        lines.push(b'\n');
                        return Ok(());
                    }
                };
                Err(format!("{what} of `{key}` holds a TAB or newline, which tsv cannot carry; jsonl can"))
            }
            Self::Jsonl => {
                let line = JsonLine {
                    key: BASE64_STANDARD.encode(key).into(),
                    value: BASE64_STANDARD.encode(value).into(),
                };
                serde_json::to_writer(&mut *lines, &line).map_err(|error| error.to_string())?;
                lines.push(b'\n');
                Ok(())
            }
        }
    }
}

/// Why a line is no JSON. Its number is for the reader of the file to tell: to the parser each is the first.
fn reason(error: &serde_json::Error) -> String {
    error.to_string().replace(&format!(" at line {} column ", error.line()), " at column ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(format: Format, line: &[u8]) -> Result<(Vec<u8>, Vec<u8>), String> {
        let mut limits = Limits::default();
        limits.max_value_bytes = 8;
        let (key, value) = format.decode(line, &limits)?;
        Ok((key.as_bytes().to_vec(), value.to_vec()))
    }

    fn encode(format: Format, key: &'static [u8], value: &[u8]) -> Result<Vec<u8>, String> {
        let mut lines = Vec::new();
        format.encode(&Key::new(key).unwrap(), value, &mut lines).map(|()| lines)
    }

    #[test]
    fn any_bytes_survive_jsonl() {
        for value in [&b""[..], b"\t\n", b"\xff\x00", b"text"] {
            let mut line = encode(Format::Jsonl, b"k\t\n\xff", value).unwrap();
            assert_eq!(line.pop(), Some(b'\n'));
            assert!(line.is_ascii());
            assert_eq!(decode(Format::Jsonl, &line).unwrap(), (b"k\t\n\xff".to_vec(), value.to_vec()));
        }
        assert_eq!(encode(Format::Jsonl, b"a", b"b").unwrap(), b"{\"key\":\"YQ==\",\"value\":\"Yg==\"}\n");
    }

    #[test]
    fn all_but_tab_and_newline_survives_tsv() {
        for value in [&b""[..], b"a b", b"\xff\x00\r", b"\\t"] {
            let mut line = encode(Format::Tsv, b"k", value).unwrap();
            assert_eq!(line.pop(), Some(b'\n'));
            assert_eq!(decode(Format::Tsv, &line).unwrap(), (b"k".to_vec(), value.to_vec()));
        }
        for (key, value, named) in [
            (&b"a\tb"[..], &b""[..], "key of `a\\tb`"),
            (b"a\nb", b"", "key of `a\\nb`"),
            (b"k", b"\n", "value of `k`"),
        ] {
            let error = encode(Format::Tsv, key, value).unwrap_err();
            assert!(error.starts_with(named), "{error}");
        }
    }

    #[test]
    fn a_line_that_makes_no_sense_is_refused() {
        for line in [&b""[..], b"key", b"\tvalue", b"a\tb\tc", b"k\t123456789"] {
            assert!(decode(Format::Tsv, line).is_err(), "{}", line.escape_ascii());
        }
        for line in [
            "",
            "[]",
            r#"{"key":"YQ=="}"#,
            r#"{"key":"","value":""}"#,
            r#"{"key":"YQ","value":""}"#,
            r#"{"key":"YQ==","value":"","ttl":1}"#,
            r#"{"key":"YQ==","value":""} {}"#,
        ] {
            assert!(decode(Format::Jsonl, line.as_bytes()).is_err(), "{line}");
        }
    }

    #[test]
    fn a_reason_tells_the_column_and_leaves_the_line_to_the_reader() {
        for format in [Format::Tsv, Format::Jsonl] {
            assert_eq!(decode(format, b"").unwrap_err(), "empty line");
        }
        assert_eq!(decode(Format::Jsonl, b"{]").unwrap_err(), "key must be a string at column 2");
        let missing = decode(Format::Jsonl, br#"{"key":"YQ=="}"#).unwrap_err();
        assert_eq!(missing, "missing field `value` at column 14");
    }

    #[test]
    fn the_longest_record_fits_into_the_longest_line() {
        let limits = Limits::default();
        let (key, value) = (Key::new(vec![0; MAX_KEY_BYTES]).unwrap(), vec![0; limits.max_value_bytes]);
        for format in [Format::Tsv, Format::Jsonl] {
            let mut line = Vec::new();
            format.encode(&key, &value, &mut line).unwrap();
            assert!(line.len() - 1 <= format.max_line_bytes(&limits));
        }
    }

    #[test]
    fn an_ending_tells_the_format() {
        assert_eq!(Format::of(Path::new("a/b.tsv")), Some(Format::Tsv));
        assert_eq!(Format::of(Path::new("b.jsonl")), Some(Format::Jsonl));
        assert_eq!(Format::of(Path::new("-")), None);
        assert_eq!(Format::of(Path::new("tsv")), None);
    }
}
