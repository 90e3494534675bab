//! A small HTTP server on loopback, told for each request what to do: the right thing, or anything else.

use std::io::{BufRead, BufReader, Result, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// What was asked.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) path: String,
    /// How many requests for this path came before.
    pub(super) count: usize,
    /// The first byte of the range.
    pub(super) start: Option<u64>,
    pub(super) if_range: Option<String>,
    /// How much of a body was taken.
    sent: Arc<AtomicUsize>,
}

impl Request {
    fn body(&self, stream: &mut TcpStream, bytes: &[u8]) -> Result<()> {
        for piece in bytes.chunks(16 << 10) {
            stream.write_all(piece)?;
            self.sent.fetch_add(piece.len(), Ordering::Relaxed);
        }
        Ok(())
    }

    /// These very bytes, head and all.
    pub(super) fn raw(&self, stream: &mut TcpStream, bytes: &[u8]) -> Result<()> {
        self.body(stream, bytes)
    }

    /// An answer with a right length; `headers` end in CR LF.
    pub(super) fn answer(&self, stream: &mut TcpStream, status: &str, headers: &str, body: &[u8]) -> Result<()> {
        let length = body.len();
        write!(stream, "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n")?;
        self.body(stream, body)
    }

    /// As a good server: the rest where it is asked for and the file is still the same, else the whole.
    pub(super) fn whole_or_rest(&self, stream: &mut TcpStream, bytes: &[u8], tag: &str) -> Result<()> {
        self.some(stream, bytes, tag, bytes.len())
    }

    /// The same, but it breaks off after so many bytes.
    pub(super) fn some(&self, stream: &mut TcpStream, bytes: &[u8], tag: &str, most: usize) -> Result<()> {
        let whole = bytes.len();
        let etag = if tag.is_empty() { String::new() } else { format!("ETag: {tag}\r\n") };
        let start = self.start.filter(|_| self.if_range.as_deref() == Some(tag)).map(|s| usize::try_from(s).unwrap());
        let (status, range) = match start {
            Some(start) => ("206 Partial Content", format!("Content-Range: bytes {start}-{}/{whole}\r\n", whole - 1)),
            None => ("200 OK", String::new()),
        };
        let rest = &bytes[start.unwrap_or(0)..];
        let length = rest.len();
        write!(stream, "HTTP/1.1 {status}\r\n{etag}{range}Content-Length: {length}\r\nConnection: close\r\n\r\n")?;
        self.body(stream, &rest[..most.min(length)])
    }
}

/// It serves until the tests end.
pub(super) struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub(super) fn new(serve: impl Fn(&Request, &mut TcpStream) -> Result<()> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Mutex<Vec<Request>>>::default();
        let (serve, log) = (Arc::new(serve), Arc::clone(&seen));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (serve, log) = (Arc::clone(&serve), Arc::clone(&log));
                std::thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    // Who goes away in the middle is no fault of the server.
                    let _ = read(&stream, &log).and_then(|request| serve(&request, &mut stream));
                });
            }
        });
        Server { address, seen }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }

    pub(super) fn of(&self, path: &str) -> Vec<Request> {
        self.requests().into_iter().filter(|r| r.path == path).collect()
    }

    /// How many bytes were sent of what is at this path.
    pub(super) fn sent(&self, path: &str) -> usize {
        self.of(path).iter().map(|r| r.sent.load(Ordering::Relaxed)).sum()
    }
}

fn read(stream: &TcpStream, log: &Mutex<Vec<Request>>) -> Result<Request> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut request = Request { path, count: 0, start: None, if_range: None, sent: Arc::default() };
    for line in lines {
        let line = line?;
        match line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value)) {
            Some((name, value)) if name == "range" => {
                request.start = value.strip_prefix("bytes=").and_then(|v| v.strip_suffix('-')?.parse().ok());
            }
            Some((name, value)) if name == "if-range" => request.if_range = Some(value.to_owned()),
            _ if line.is_empty() => break,
            _ => {}
        }
    }
    let mut log = log.lock().unwrap();
    request.count = log.iter().filter(|r| r.path == request.path).count();
    log.push(request.clone());
    Ok(request)
}
