use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _};

/// The lines of a source, numbered from 1, none longer than a limit.
pub(crate) struct Lines<R> {
    source: R,
    limit: usize,
    line: Vec<u8>,
    number: u64,
}

/// Why there is no next line.
#[derive(Debug)]
pub(crate) enum LineError {
    Io(io::Error),
    TooLong { limit: usize },
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    pub(crate) const fn new(source: R, limit: usize) -> Self {
        Self { source, limit, line: Vec::new(), number: 0 }
    }

    /// The number of the line that was begun last.
    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    /// The next line, without its newline, and how many bytes it took from the source. A last line needs no
    /// newline.
    pub(crate) async fn next(&mut self) -> Result<Option<(&[u8], u64)>, LineError> {
        self.line.clear();
        loop {
            let available = self.source.fill_buf().await.map_err(LineError::Io)?;
            if available.is_empty() {
                let rest = (!self.line.is_empty()).then_some((&self.line[..], self.line.len() as u64));
                return Ok(rest);
            }
            if self.line.is_empty() {
                self.number += 1;
            }
            let newline = available.iter().position(|byte| *byte == b'\n');
            let part = &available[..newline.unwrap_or(available.len())];
            if self.line.len() + part.len() > self.limit {
                return Err(LineError::TooLong { limit: self.limit });
            }
            self.line.extend_from_slice(part);
            let taken = part.len() + usize::from(newline.is_some());
            self.source.consume(taken);
            if newline.is_some() {
                return Ok(Some((&self.line, self.line.len() as u64 + 1)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::BufReader;

    async fn all(text: &[u8], limit: usize, buffer: usize) -> Vec<Result<Vec<u8>, u64>> {
        let mut lines = Lines::new(BufReader::with_capacity(buffer, text), limit);
        let mut all = Vec::new();
        loop {
            match lines.next().await {
                Ok(Some((line, _))) => all.push(Ok(line.to_vec())),
                Ok(None) => return all,
                Err(_) => {
                    all.push(Err(lines.number()));
                    return all;
                }
            }
        }
    }

    #[tokio::test]
    async fn lines_come_whole_however_they_are_buffered() {
        let expected: Vec<_> = [&b"one"[..], b"", b"three", b"last"].map(|line| Ok(line.to_vec())).into();
        for buffer in [1, 2, 3, 4, 100] {
            assert_eq!(all(b"one\n\nthree\nlast", 5, buffer).await, expected);
            assert_eq!(all(b"one\n\nthree\nlast\n", 5, buffer).await, expected);
        }
        assert!(all(b"", 5, 8).await.is_empty());
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_ends_it_with_its_number() {
        for buffer in [1, 3, 100] {
            assert_eq!(all(b"a\nb\nabcd\nd", 3, buffer).await.last(), Some(&Err(3)));
        }
    }
}
