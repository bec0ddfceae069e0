use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use rdb_client::{Bytes, Key};

use crate::failure::{Exit, Failure};

/// Reads a key from the command line: its bytes as they are.
pub(crate) fn parse_key(argument: OsString) -> Result<Key, rdb_client::Error> {
    Key::new(argument.into_encoded_bytes())
}

/// Where a value comes from: `-` is standard input, `@path` a file, `@@rest` the text `@rest`, and all else
/// the text itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Text(Bytes),
    Stdin,
    File(PathBuf),
}

impl Value {
    pub(crate) fn parse(argument: OsString) -> Result<Self, &'static str> {
        let bytes = argument.as_encoded_bytes();
        Ok(match bytes {
            b"-" => Self::Stdin,
            b"@" => return Err("@ takes the name of a file; a value that begins with @ is written @@"),
            // Of what begins with @@, the first is the escape.
            [b'@', b'@', ..] => Self::Text(Bytes::copy_from_slice(&bytes[1..])),
            [b'@', ..] => Self::File(after_at(&argument)),
            _ => Self::Text(argument.into_encoded_bytes().into()),
        })
    }

    /// Reads it, if it is no longer than a value may be.
    pub(crate) fn read(self, limit: usize) -> Result<Bytes, Failure> {
        let (name, bytes) = match self {
            Self::Text(text) => ("the argument".to_owned(), text),
            Self::Stdin => ("standard input".to_owned(), up_to(io::stdin().lock(), limit, "standard input")?),
            Self::File(path) => {
                let name = path.display().to_string();
                let file = File::open(&path).map_err(|error| Failure::io(&name, &error))?;
                let bytes = up_to(file, limit, &name)?;
                (name, bytes)
            }
        };
        if bytes.len() > limit {
            let message = format!("{name}: value is too long; this node takes {limit} bytes");
            return Err(Failure::new(Exit::Error, message));
        }
        Ok(bytes)
    }
}

/// Reads at most one byte more than the limit, which is enough to know.
fn up_to(source: impl Read, limit: usize, name: &str) -> Result<Bytes, Failure> {
    let mut bytes = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    source.take(most).read_to_end(&mut bytes).map_err(|error| Failure::io(name, &error))?;
    Ok(bytes.into())
}

#[cfg(unix)]
fn after_at(argument: &OsStr) -> PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    OsStr::from_bytes(&argument.as_bytes()[1..]).into()
}

#[cfg(not(unix))]
fn after_at(argument: &OsStr) -> PathBuf {
    argument.to_string_lossy()[1..].into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn text(value: &'static str) -> Value {
        Value::Text(Bytes::from(value))
    }

    #[test]
    fn a_value_is_text_or_names_its_source() {
        for (argument, expected) in [
            ("", text("")),
            ("hello", text("hello")),
            ("a@b", text("a@b")),
            ("@@", text("@")),
            ("@@home", text("@home")),
            ("--", text("--")),
            ("-", Value::Stdin),
            ("@a/b", Value::File("a/b".into())),
        ] {
            assert_eq!(Value::parse(argument.into()), Ok(expected), "{argument}");
        }
        assert!(Value::parse("@".into()).unwrap_err().contains("@@"));
    }

    #[test]
    fn a_file_comes_byte_for_byte_if_it_is_short_enough() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"\x00\xff\n").unwrap();
        let value = Value::File(file.path().to_owned());
        assert_eq!(value.clone().read(3).unwrap(), b"\x00\xff\n"[..]);
        assert_eq!(value.read(2).unwrap_err().exit(), Exit::Error);
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let failure = Value::File("does/not/exist".into()).read(9).unwrap_err();
        assert!(failure.message().starts_with("does/not/exist: "), "{}", failure.message());
    }
}
