//! One request over HTTP, with limits; the one user of the HTTP crate.
//!
//! The crate does its work in a thread of its own and hands pieces over, so that the one who waits can see a person's Ctrl-C
//! and lose patience, whatever the other side does.
use std::io::{ErrorKind, Read};
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use ureq::http::Response;
use ureq::http::Uri;
use ureq::http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_RANGE, LAST_MODIFIED, LOCATION, RANGE,
};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body};

use crate::prove::process::interrupted;
use crate::report::{Fault, FromText, shown};

/// A vendor sends a request to a mirror, and that one perhaps to another.
const REDIRECTS: u32 = 5;

/// What is handed over at a time.
const PIECE: usize = 64 << 10;

/// How often a wait looks up to see whether a person pressed Ctrl-C.
const TICK: Duration = Duration::from_millis(100);

/// Where something is to be had: https, or http on this very machine. What comes over plain http from elsewhere may be
/// anyone's, and so may be the list of checksums that it is held to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url(String);

impl Url {
    /// The name of the file that it leads to.
    #[must_use]
    pub fn file(&self) -> &str {
        let path = self.0.split('?').next().unwrap_or_default();
        // `https:`, nothing, the host; the file is the last of at least four.
        path.splitn(4, '/').nth(3).and_then(|path| path.rsplit('/').next()).unwrap_or_default()
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn secure(&self) -> bool {
        self.0.starts_with("https:")
    }

    /// A file of a package archive, which may be had without TLS: whoever it is for has its signature to hold it to.
    pub(in crate::prove) fn of_archive(text: String) -> Self {
        Url(text)
    }
}

impl FromText for Url {
    const WHAT: &'static str = "a URL";
    fn from_text(text: &str) -> Result<Self, Fault> {
        let url = parse(text)?;
        if url.file().is_empty() {
            return Err(Fault::new(format!("`{}` does not end in the name of a file", shown(text))).help(EXAMPLE));
        }
        Ok(url)
    }
}

const EXAMPLE: &str = "write it as https://host/path/file";

fn parse(text: &str) -> Result<Url, Fault> {
    let no = |why: &str, help: &str| Err(Fault::new(format!("`{}` {why}", shown(text))).help(help));
    let plain = text.len() <= 8000 && text.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
    let Some(uri) = text.parse::<Uri>().ok().filter(|_| plain) else {
        return no("is no URL", EXAMPLE);
    };
    let (Some(scheme), Some(authority), Some(host)) = (uri.scheme_str(), uri.authority(), uri.host()) else {
        return no("is no URL", EXAMPLE);
    };
    if authority.as_str().contains('@') {
        // Not shown: it is a secret.
        let help = "leave them out: a URL is shown, and stands in the lock file";
        return Err(Fault::new("this URL holds a name or a password").help(help));
    }
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    match scheme {
        "https" => {}
        "http" if host == "localhost" || address.is_ok_and(|a| a.is_loopback()) => {}
        "http" => {
            return no(
                "is plain http, and anybody on the way could change what comes",
                "use https; plain http is for this machine only (127.0.0.1, [::1], localhost)",
            );
        }
        _ => return no(&format!("is {scheme}, not https"), EXAMPLE),
    }
    Ok(Url(text.to_owned()))
}

/// Where `location` leads from `base`. Once it was https it stays so.
fn follow(base: &Url, location: &str) -> Result<Url, Trouble> {
    let location = location.split('#').next().unwrap_or_default();
    let (scheme, rest) = base.0.split_once("://").unwrap_or_default();
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    let has_scheme =
        |text: &str| text.split_once("://").is_some_and(|(s, _)| s.bytes().all(|b| b.is_ascii_alphanumeric()));
    let whole = if has_scheme(location) {
        location.to_owned()
    } else if let Some(elsewhere) = location.strip_prefix("//") {
        format!("{scheme}://{elsewhere}")
    } else if location.starts_with('/') {
        format!("{scheme}://{host}{location}")
    } else {
        let path = rest.split('?').next().unwrap_or_default();
        let folder = path.rsplit_once('/').map_or(host, |(folder, _)| folder);
        format!("{scheme}://{folder}/{location}")
    };
    match parse(&whole) {
        Ok(url) if base.secure() && !url.secure() => {
            Err(Trouble::Lasting(format!("it sends us from https to plain http, `{}`", shown(&whole))))
        }
        Ok(url) => Ok(url),
        Err(fault) => Err(Trouble::Lasting(format!("it sends us on, but {}", fault.message))),
    }
}

/// Why there is no answer, or no more of it.
#[derive(Debug)]
pub(in crate::prove) enum Trouble {
    /// A person has asked us to stop.
    Interrupted,
    /// Another try may do better.
    Passing(String),
    /// The rest of the file is not to be had; from its start it may be.
    NoRest(String),
    /// Another try will do no better.
    Lasting(String),
}

/// The head of an answer that is good, and its body to be read.
#[derive(Debug)]
pub(in crate::prove) struct Answer {
    /// How many bytes the body has.
    pub(in crate::prove) length: Option<u64>,
    /// For a part: its first byte, and how many the whole file has.
    pub(super) part: Option<(u64, u64)>,
    /// What the file can be known by when we ask for its rest.
    pub(super) validator: Option<String>,
    from: Receiver<Message>,
    patience: Duration,
}

enum Message {
    Head(Box<Head>),
    Piece(Vec<u8>),
    End,
    Trouble(Trouble),
}

struct Head {
    length: Option<u64>,
    part: Option<(u64, u64)>,
    validator: Option<String>,
}

/// Asks for a file, or for the rest of one from a byte on, if it is still what `validator` says.
pub(in crate::prove) fn get(url: &Url, rest: Option<(u64, &str)>, patience: Duration) -> Result<Answer, Trouble> {
    let (to, from) = sync_channel(8);
    let (url, rest) = (url.clone(), rest.map(|(at, validator)| (at, validator.to_owned())));
    // Not waited for: when we have lost patience it ends by itself, when its own time is up or it finds nobody listening.
    thread::spawn(move || {
        let message = match ask(&url, rest.as_ref(), patience) {
            Ok((head, body)) => match to.send(Message::Head(Box::new(head))) {
                Ok(()) => relay(body, |piece| to.send(Message::Piece(piece)).is_ok()),
                Err(_) => return,
            },
            Err(trouble) => Message::Trouble(trouble),
        };
        let _ = to.send(message);
    });
    match receive(&from, patience)? {
        Message::Head(head) => {
            let Head { length, part, validator } = *head;
            Ok(Answer { length, part, validator, from, patience })
        }
        Message::Trouble(trouble) => Err(trouble),
        Message::Piece(_) | Message::End => Err(Trouble::Passing("there was no answer".to_owned())),
    }
}

impl Answer {
    /// The next piece of the body; none at its end.
    pub(in crate::prove) fn next(&mut self) -> Result<Option<Vec<u8>>, Trouble> {
        match receive(&self.from, self.patience)? {
            Message::Piece(piece) => Ok(Some(piece)),
            Message::Trouble(trouble) => Err(trouble),
            Message::End | Message::Head(_) => Ok(None),
        }
    }
}

fn receive(from: &Receiver<Message>, patience: Duration) -> Result<Message, Trouble> {
    let since = Instant::now();
    loop {
        if interrupted() {
            return Err(Trouble::Interrupted);
        }
        match from.recv_timeout(TICK.min(patience)) {
            Ok(message) => return Ok(message),
            Err(RecvTimeoutError::Timeout) if since.elapsed() < patience => {}
            Err(RecvTimeoutError::Timeout) => {
                return Err(Trouble::Passing(format!("nothing came for {} s", patience.as_secs())));
            }
            Err(RecvTimeoutError::Disconnected) => return Err(Trouble::Passing("the answer was lost".to_owned())),
        }
    }
}

/// Hands on the body, piece by piece; gives what is to be said last.
fn relay(body: Body, mut hand_on: impl FnMut(Vec<u8>) -> bool) -> Message {
    let mut reader = body.into_reader();
    loop {
        let mut piece = vec![0; PIECE];
        match reader.read(&mut piece) {
            Ok(0) => return Message::End,
            Ok(read) => {
                piece.truncate(read);
                if !hand_on(piece) {
                    return Message::End;
                }
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => {
                return Message::Trouble(Trouble::Passing("the connection broke off".to_owned()));
            }
            Err(e) => return Message::Trouble(Trouble::Passing(format!("the connection broke off: {e}"))),
        }
    }
}

fn agent(url: &Url, patience: Duration) -> Agent {
    // Our own patience ends first and has the words; these make the thread end.
    let limit = Some(patience + Duration::from_secs(1));
    // The crate itself reads HTTPS_PROXY and NO_PROXY, as everything else on a machine does. To this machine there is none.
    let config = Agent::config_builder();
    let config = if url.secure() || parse(url.as_str()).is_err() { config } else { config.proxy(None) };
    config
        .http_status_as_error(false)
        // We follow by ourselves, for nobody is to be asked whom we would not take anything from.
        .max_redirects(0)
        .user_agent(concat!("hardtack/", env!("CARGO_PKG_VERSION")))
        .timeout_resolve(limit)
        .timeout_connect(limit)
        .timeout_per_read(limit)
        .timeout_per_write(limit)
        // What the machine trusts: a company's own mirror has a certificate of its own authority.
        .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build())
        .build()
        .into()
}

fn ask(url: &Url, rest: Option<&(u64, String)>, patience: Duration) -> Result<(Head, Body), Trouble> {
    let mut url = url.clone();
    for _ in 0..=REDIRECTS {
        // Compressed on the way it would have another length, and could not be resumed.
        let mut request = agent(&url, patience).get(url.as_str()).header(ACCEPT_ENCODING, "identity");
        if let Some((at, validator)) = rest {
            request = request.header(RANGE, format!("bytes={at}-")).header(IF_RANGE, validator);
        }
        let response = request.call().map_err(trouble)?;
        if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
            return judge(response, rest);
        }
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let location = location.ok_or_else(|| Trouble::Lasting("it sends us on, but not where to".to_owned()))?;
        url = follow(&url, location)?;
    }
    Err(Trouble::Lasting(format!("it sends us on more than {REDIRECTS} times")))
}

/// Whether an answer is one that we can use.
fn judge(response: Response<Body>, rest: Option<&(u64, String)>) -> Result<(Head, Body), Trouble> {
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    if let Some(coding) = header(CONTENT_ENCODING).filter(|coding| *coding != "identity") {
        return Err(Trouble::Lasting(format!(
            "it sends the file encoded as {}, which was not asked for",
            shown(coding)
        )));
    }
    let status = response.status();
    let part = header(CONTENT_RANGE).and_then(content_range).filter(|_| status.as_u16() == 206);
    match (status.as_u16(), rest) {
        (200, _) => {}
        (206, Some((at, _))) if part.is_some_and(|(start, _)| start == *at) => {}
        (206, _) => return Err(Trouble::NoRest("it sends another part of the file than was asked for".to_owned())),
        (416, Some(_)) => return Err(Trouble::NoRest("it knows no such rest of the file".to_owned())),
        (404 | 410, _) => {
            let help = "its vendor may have moved it: name another place with --url or --checksums";
            return Err(Trouble::Lasting(format!("it answers {status}; {help}")));
        }
        (408 | 429 | 500..=599, _) => return Err(Trouble::Passing(format!("it answers {status}"))),
        _ => return Err(Trouble::Lasting(format!("it answers {status}"))),
    }
    // RFC 9110, 13.1.5: a weak tag may not stand in If-Range; a date may.
    let validator =
        header(ETAG).filter(|tag| tag.starts_with('"')).or_else(|| header(LAST_MODIFIED)).map(str::to_owned);
    let length = header(CONTENT_LENGTH).and_then(|text| text.parse().ok());
    Ok((Head { length, part, validator }, response.into_body()))
}

/// `bytes 100-199/200`: the first byte, and the length of the whole.
fn content_range(text: &str) -> Option<(u64, u64)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (start, end): (u64, u64) = range.split_once('-').and_then(|(s, e)| Some((s.parse().ok()?, e.parse().ok()?)))?;
    let total: u64 = total.parse().ok()?;
    (start <= end && end < total).then_some((start, total))
}

fn trouble(error: ureq::Error) -> Trouble {
    use ureq::Error;
    match error {
        Error::TooManyRedirects => Trouble::Lasting(format!("it sends us on more than {REDIRECTS} times")),
        Error::RequireHttpsOnly(uri) => {
            Trouble::Lasting(format!("it sends us to {}, which is plain http", shown(&uri)))
        }
        Error::Rustls(e) => Trouble::Lasting(certificate(&e.to_string())),
        Error::HostNotFound => Trouble::Passing("its host name is not known".to_owned()),
        Error::Timeout(_) => Trouble::Passing("nothing came in time".to_owned()),
        Error::Io(e) if e.get_ref().is_some_and(|inner| inner.to_string().contains("certificate")) => {
            Trouble::Lasting(certificate(&e.to_string()))
        }
        Error::Io(e) => Trouble::Passing(e.to_string()),
        Error::Protocol(e) => Trouble::Passing(format!("its answer is not HTTP: {e}")),
        Error::LargeResponseHeader(..) => Trouble::Lasting("the head of its answer does not end".to_owned()),
        other => Trouble::Passing(other.to_string()),
    }
}

fn certificate(what: &str) -> String {
    format!("it cannot be trusted: {what} (the package ca-certificates has what this machine trusts)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_and_this_machine_are_urls() {
        for good in [
            "https://example.org/a/disk.qcow2",
            "https://example.org:8443/disk.qcow2?token=/x",
            "http://127.0.0.1:8000/disk.qcow2",
            "http://127.9.9.9/disk.qcow2",
            "http://[::1]:80/disk.qcow2",
            "http://localhost/disk.qcow2",
        ] {
            assert_eq!(Url::from_text(good).map(|url| url.file().to_owned()), Ok("disk.qcow2".to_owned()), "{good}");
        }
        for (bad, why) in [
            ("http://example.org/x", "plain http"),
            ("http://127.0.0.1.example.org/x", "plain http"),
            ("http://localhost.example.org/x", "plain http"),
            ("http://0.0.0.0/x", "plain http"),
            ("http://[::2]/x", "plain http"),
            ("http://127.0.0.1@example.org/x", "a name or a password"),
            ("https://me:secret@example.org/x", "a name or a password"),
            ("ftp://example.org/x", "is ftp, not https"),
            ("file:///etc/passwd", "is no URL"),
            ("/etc/passwd", "is no URL"),
            ("disk.qcow2", "is no URL"),
            ("", "is no URL"),
            ("https://example.org/a b", "is no URL"),
            ("https://example.org/a\n", "is no URL"),
            ("https://example.org/x#y", "is no URL"),
            ("https://example.org/", "does not end in the name of a file"),
            ("https://example.org", "does not end in the name of a file"),
            ("https://example.org/?x=/y", "does not end in the name of a file"),
        ] {
            let fault = Url::from_text(bad).expect_err(bad);
            assert!(fault.message.contains(why) && fault.help.is_some(), "{bad}: {fault:?}");
        }
    }

    #[test]
    fn we_follow_where_we_are_sent_but_not_out_of_https() {
        let secure = parse("https://a.example/x/y?z=/w").unwrap();
        for (location, wanted) in [
            ("https://b.example/q?r=1#s", "https://b.example/q?r=1"),
            ("//b.example/q", "https://b.example/q"),
            ("/q", "https://a.example/q"),
            ("q?u=https://c.example/", "https://a.example/x/q?u=https://c.example/"),
            ("https://b.example/", "https://b.example/"),
        ] {
            assert_eq!(follow(&secure, location).map(|url| url.0).ok().as_deref(), Some(wanted), "{location}");
        }
        let here = parse("http://127.0.0.1:1/x").unwrap();
        assert_eq!(follow(&here, "y").map(|url| url.0).ok().as_deref(), Some("http://127.0.0.1:1/y"));
        for (base, bad) in [
            (&secure, "http://b.example/q"),
            (&secure, "http://127.0.0.1/q"),
            (&here, "http://b.example/q"),
            (&here, "//b.example/q"),
            (&here, "ftp://127.0.0.1/q"),
            (&secure, "https://me:secret@b.example/q"),
            (&secure, "https://b.example/\u{1b}[2J"),
        ] {
            assert!(matches!(follow(base, bad), Err(Trouble::Lasting(_))), "{bad}");
        }
    }

    #[test]
    fn a_part_says_where_it_begins() {
        assert_eq!(content_range("bytes 100-199/200"), Some((100, 200)));
        for bad in [
            "",
            "bytes */200",
            "bytes 100-199/*",
            "bytes 199-100/200",
            "bytes 0-200/200",
            "items 0-1/2",
            "bytes -1-2/3",
        ] {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }
}
