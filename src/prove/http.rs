//! As much of HTTP as the servers need that a machine finds on its network.
use std::io::{self, BufRead, BufReader, Read, Write};

/// No question is longer.
const LONGEST: u64 = 16 << 10;

/// What a client asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Request {
    /// `GET`, `PUT`.
    pub(super) method: String,
    /// From the first slash on.
    pub(super) path: String,
    /// What the client calls the server, in lower case.
    pub(super) host: String,
}

/// Reads the head of a request. What is wrong with it leaves it empty, and is asked for nothing.
pub(super) fn read(stream: &mut impl Read) -> io::Result<Request> {
    let mut request = Request::default();
    for line in BufReader::new(stream.take(LONGEST)).lines() {
        let line = line?;
        if line.is_empty() {
            break;
        }
        match line.split_once(": ") {
            None => {
                let mut words = line.split(' ').map(ToOwned::to_owned);
                request.method = words.next().unwrap_or_default();
                request.path = words.next().unwrap_or_default();
            }
            Some((name, value)) if name.eq_ignore_ascii_case("host") => request.host = value.to_ascii_lowercase(),
            Some(_) => {}
        }
    }
    Ok(request)
}

/// Answers it, and says that there will be no other.
pub(super) fn answer(stream: &mut impl Write, head: &str, body: &[u8]) -> io::Result<()> {
    write!(stream, "HTTP/1.1 {head}\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n")?;
    stream.write_all(body)?;
    stream.flush()
}
