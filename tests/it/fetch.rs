//! `hardtack image fetch` against a server on loopback that breaks off, lies, stalls, and sends us elsewhere.

mod server;
mod tls;

use hardtack::archive::digest::{Algorithm, Hasher};
use server::{Request, Server};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const MIB: usize = 1 << 20;

/// A qcow2 head and bytes that differ by `seed` and by place.
fn disk(seed: u32, length: usize) -> Vec<u8> {
    let mut bytes = b"QFI\xfb\0\0\0\x03".to_vec();
    bytes.resize(104, 0);
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    while bytes.len() < length {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        bytes.extend(state.to_be_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn hex(algorithm: Algorithm, bytes: &[u8]) -> String {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(bytes);
    hasher.finish().to_string().split_once(':').unwrap().1.to_owned()
}

fn sums(bytes: &[u8]) -> String {
    format!("{}  other.qcow2\n{}  disk.qcow2\n", "0".repeat(128), hex(Algorithm::Sha512, bytes))
}

/// A folder to work in, with a cache.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Place(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, patience: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("hardtack"));
        command.args(["image", "fetch", "debian-12", "--patience", patience]).args(arguments);
        command.current_dir(self.0.path()).env_clear().env("XDG_CACHE_HOME", self.at("cache"));
        // Whoever runs the tests behind a proxy: to this machine there is none, whatever is set.
        command.env("http_proxy", "http://127.0.0.1:9/").env("ALL_PROXY", "http://127.0.0.1:9/");
        command
    }

    /// Exit code, standard output, standard error.
    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let done = self.command("1", arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (done.status.code().unwrap(), text(done.stdout), text(done.stderr))
    }

    fn from(&self, server: &Server, more: &[&str]) -> (i32, String, String) {
        let (url, list) = (server.url("/disk.qcow2"), server.url("/SUMS"));
        self.run(&[&["--url", &url, "--checksums", &list], more].concat())
    }

    #[track_caller]
    fn good(&self, server: &Server, wanted: &[u8]) -> String {
        let (code, out, err) = self.from(server, &[]);
        assert_eq!(code, 0, "{err}");
        assert!(out.contains(&format!("debian-12: {}\n", self.image().display())), "{out}");
        assert!(std::fs::read(self.image()).unwrap() == wanted, "the image has other bytes");
        assert!(!self.part().exists(), "the part is left");
        err
    }

    /// It ends with this code and says each of these; no image is there, no pin, and nothing that a later run would take.
    #[track_caller]
    fn bad(&self, server: &Server, code: i32, says: &[&str]) -> String {
        let (got, out, err) = self.from(server, &[]);
        assert_eq!((got, out.as_str()), (code, ""), "{err}");
        for what in says {
            assert!(err.contains(what), "`{what}` is missing: {err}");
        }
        assert!(!err.contains("panicked") && !err.contains('\u{1b}'), "{err}");
        assert!(!self.image().exists() && !self.at("hardtack.lock").exists());
        err
    }

    fn image(&self) -> PathBuf {
        self.at("cache/hardtack/official/debian-12/disk.qcow2")
    }

    fn part(&self) -> PathBuf {
        self.at("cache/hardtack/official/.debian-12/disk.part")
    }

    fn lock(&self) -> String {
        std::fs::read_to_string(self.at("hardtack.lock")).unwrap()
    }
}

/// A server that has this disk and its list, and does something else with the n-th request for the disk where `spoil` says so.
fn serve(
    bytes: &[u8],
    spoil: impl Fn(&Request, &mut TcpStream) -> std::io::Result<bool> + Send + Sync + 'static,
) -> Server {
    let (bytes, list) = (bytes.to_vec(), sums(bytes));
    Server::new(move |request, stream| match request.path.as_str() {
        "/disk.qcow2" if spoil(request, stream)? => Ok(()),
        "/disk.qcow2" => request.whole_or_rest(stream, &bytes, "\"one\""),
        "/SUMS" => request.answer(stream, "200 OK", "", list.as_bytes()),
        _ => request.answer(stream, "404 Not Found", "", b""),
    })
}

/// A server whose list is this.
fn with_list(bytes: &[u8], list: &str) -> Server {
    let (bytes, list) = (bytes.to_vec(), list.to_owned());
    Server::new(move |request, stream| match request.path.as_str() {
        "/disk.qcow2" => request.whole_or_rest(stream, &bytes, "\"one\""),
        _ => request.answer(stream, "200 OK", "", list.as_bytes()),
    })
}

#[test]
fn an_image_is_fetched_checked_pinned_and_listed() {
    let (place, bytes) = (Place::new(), disk(1, 3 * MIB));
    let server = serve(&bytes, |_, _| Ok(false));
    let said = place.good(&server, &bytes);
    assert!(said.contains("debian-12: 3.0 of 3.0 MiB\n"), "{said}");
    assert!(said.ends_with("pinned in hardtack.lock; commit hardtack.lock\n"), "{said}");
    let wanted = format!(
        "# What `hardtack image fetch` holds the vendors' images to. Commit this file.\n\
         # To take what a vendor has now: hardtack image fetch NAME --update\n\
         lock: 1\nimages:\n  debian-12:\n    image: {}\n    size: {}\n    digest: sha512:{}\n",
        server.url("/disk.qcow2"),
        bytes.len(),
        hex(Algorithm::Sha512, &bytes)
    );
    assert_eq!(place.lock(), wanted);
    let mode = std::os::unix::fs::PermissionsExt::mode(&place.at("hardtack.lock").metadata().unwrap().permissions());
    assert_eq!(mode & 0o444, 0o444, "a file that is committed can be read");
    // Pinned and here: nobody is asked, and the lock file says where it is from.
    let asked = server.requests().len();
    let (code, _, said) = place.run(&[]);
    assert_eq!((code, server.requests().len()), (0, asked), "{said}");
    let mut list = Command::new(assert_cmd::cargo::cargo_bin!("hardtack"));
    let listed = list.args(["image", "list"]).env("XDG_CACHE_HOME", place.at("cache")).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains(&format!("    fetched: {}\n", place.image().display())), "{listed}");
    // Damaged in the cache: it is seen, and fetched again.
    let mut damaged = bytes.clone();
    damaged[MIB] ^= 1;
    std::fs::write(place.image(), damaged).unwrap();
    assert!(place.good(&server, &bytes).contains("the copy in the cache is damaged"));
    assert_eq!(place.lock(), wanted);
}

#[test]
fn a_download_that_breaks_off_goes_on_where_it_was() {
    let (place, bytes) = (Place::new(), disk(2, 4 * MIB));
    let all = bytes.clone();
    let server = serve(&bytes, move |request, stream| match request.count {
        0 => request.some(stream, &all, "\"one\"", MIB).map(|()| true),
        1 => request.answer(stream, "503 Service Unavailable", "", b"").map(|()| true),
        2 => request.some(stream, &all, "\"one\"", 2 * MIB).map(|()| true),
        _ => Ok(false),
    });
    let said = place.good(&server, &bytes);
    assert!(said.contains("the connection broke off; trying again (2 of 5)"), "{said}");
    assert!(said.contains("it answers 503 Service Unavailable; trying again"), "{said}");
    let asked: Vec<_> = server.of("/disk.qcow2").iter().map(|r| (r.start, r.if_range.clone())).collect();
    let tag = Some("\"one\"".to_owned());
    let (one, three) = (Some(MIB as u64), Some(3 * MIB as u64));
    assert_eq!(asked, [(None, None), (one, tag.clone()), (one, tag.clone()), (three, tag)]);
    assert_eq!(server.sent("/disk.qcow2"), bytes.len(), "no byte was sent twice");
}

#[test]
fn an_interrupted_download_goes_on_in_the_next_run() {
    let (place, bytes) = (Place::new(), disk(3, 3 * MIB));
    let all = bytes.clone();
    let server = serve(&bytes, move |request, stream| {
        if request.count > 0 {
            return Ok(false);
        }
        request.some(stream, &all, "\"one\"", MIB)?;
        std::thread::sleep(Duration::from_secs(60));
        Ok(true)
    });
    let (url, list) = (server.url("/disk.qcow2"), server.url("/SUMS"));
    let mut command = place.command("50", &["--url", &url, "--checksums", &list]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    until("a MiB is here", || place.part().metadata().is_ok_and(|m| m.len() == MIB as u64));
    let pid = rustix::process::Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    let since = Instant::now();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let done = child.wait_with_output().unwrap();
    assert!(since.elapsed() < Duration::from_secs(5), "it listens to a person while nothing comes");
    let said = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(69), "{said}");
    assert!(said.ends_with("interrupted; what has come is kept, and the same command goes on from there\n"), "{said}");
    let said = place.good(&server, &bytes);
    assert!(said.contains("going on after 1 MiB that are here already"), "{said}");
    assert_eq!(server.of("/disk.qcow2").last().unwrap().start, Some(MIB as u64));
    assert_eq!(server.sent("/disk.qcow2"), bytes.len(), "no byte was sent twice");
}

fn until(what: &str, is: impl Fn() -> bool) {
    let since = Instant::now();
    while !is() {
        assert!(since.elapsed() < Duration::from_secs(30), "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_server_that_cannot_resume_sends_it_from_its_start() {
    let (place, bytes) = (Place::new(), disk(4, 3 * MIB));
    let all = bytes.clone();
    let server = serve(&bytes, move |request, stream| match request.count {
        0 => request.some(stream, &all, "\"one\"", MIB).map(|()| true),
        // As if no range had been asked for.
        _ => request.answer(stream, "200 OK", "ETag: \"one\"\r\n", &all).map(|()| true),
    });
    let said = place.good(&server, &bytes);
    assert!(said.contains("the server sends the file from its start"), "{said}");
    assert_eq!(server.of("/disk.qcow2").len(), 2);
    // Without anything to know the file by, its rest is not asked for.
    let (place, all) = (Place::new(), bytes.clone());
    let server = serve(&bytes, move |request, stream| match request.count {
        0 => request.some(stream, &all, "", MIB).map(|()| true),
        _ => Ok(false),
    });
    place.good(&server, &bytes);
    assert!(server.of("/disk.qcow2").iter().all(|r| r.start.is_none()));
}

#[test]
fn a_file_that_changes_between_two_tries_is_fetched_anew() {
    let (place, old, new) = (Place::new(), disk(5, 3 * MIB), disk(6, 3 * MIB));
    let server = serve(&new.clone(), move |request, stream| match request.count {
        0 => request.some(stream, &old, "\"old\"", MIB).map(|()| true),
        _ => Ok(false),
    });
    place.good(&server, &new);
    assert_eq!(server.of("/disk.qcow2")[1].if_range.as_deref(), Some("\"old\""));
    // A shorter one: nothing of the longer is left behind it.
    let (place, old, new) = (Place::new(), disk(5, 4 * MIB), disk(6, 2 * MIB));
    let server = serve(&new.clone(), move |request, stream| match request.count {
        0 => request.some(stream, &old, "\"old\"", 3 * MIB).map(|()| true),
        _ => Ok(false),
    });
    place.good(&server, &new);
    let (old, new) = (disk(5, 3 * MIB), disk(6, 3 * MIB));
    // It keeps its tag, or goes on with the rest of another length, or will not hear of the rest: all are seen.
    let longer = disk(7, 4 * MIB);
    for (way, says) in [
        ("same tag", "the pieces do not make up the file; fetching it from its start"),
        ("other length", "it sends the rest of another file"),
        ("no rest", "it knows no such rest of the file"),
        ("other part", "it sends another part of the file than was asked for"),
    ] {
        let (place, first, other) = (Place::new(), old.clone(), longer.clone());
        let server = serve(&new, move |request, stream| match (request.count, way) {
            (0, _) => request.some(stream, &first, "\"one\"", MIB).map(|()| true),
            (1, "other length") => request.whole_or_rest(stream, &other, "\"one\"").map(|()| true),
            (1, "no rest") => request.answer(stream, "416 Range Not Satisfiable", "", b"").map(|()| true),
            (1, "other part") => request
                .answer(stream, "206 Partial Content", "Content-Range: bytes 5-8/3145728\r\n", b"four")
                .map(|()| true),
            _ => Ok(false),
        });
        let said = place.good(&server, &new);
        assert!(said.contains(says), "{way}: {said}");
        let starts: Vec<_> = server.of("/disk.qcow2").iter().map(|r| r.start).collect();
        assert_eq!(starts, [None, Some(MIB as u64), None], "{way}");
    }
}

#[test]
fn only_what_is_new_counts_as_progress() {
    // Ten pieces: no try is in vain.
    let (place, bytes) = (Place::new(), disk(17, 10 * MIB));
    let all = bytes.clone();
    let server = serve(&bytes, move |request, stream| request.some(stream, &all, "\"one\"", MIB).map(|()| true));
    place.good(&server, &bytes);
    assert_eq!(server.of("/disk.qcow2").len(), 10);
    // As much, but each time of another file: it would come for ever.
    let place = Place::new();
    let server = serve(&bytes.clone(), move |request, stream| match request.count {
        // So that a program that would go on for ever fails the test, and does not hang it.
        20.. => request.answer(stream, "404 Not Found", "", b"").map(|()| true),
        count => request.some(stream, &bytes, &format!("\"{count}\""), 2 * MIB).map(|()| true),
    });
    place.bad(&server, 69, &["the server sends the file from its start", "5 tries were in vain"]);
    assert_eq!(server.of("/disk.qcow2").len(), 5);
}

#[test]
fn a_part_of_what_the_list_no_longer_has_is_not_gone_on_with() {
    let (place, bytes, old) = (Place::new(), disk(18, 2 * MIB), disk(19, 2 * MIB));
    let (all, lists) = (bytes.clone(), [sums(&old), sums(&bytes)]);
    // On a busy machine a try may end before the server has heard of it, so tries are not counted here.
    let replaced = Arc::new(AtomicBool::new(false));
    let now = replaced.clone();
    let server = Server::new(move |request, stream| match (request.path.as_str(), now.load(Ordering::SeqCst)) {
        ("/disk.qcow2", false) => request.some(stream, &old, "\"one\"", MIB >> (2 * request.count)),
        ("/disk.qcow2", true) => request.whole_or_rest(stream, &all, "\"one\""),
        (_, new) => request.answer(stream, "200 OK", "", lists[usize::from(new)].as_bytes()),
    });
    // So little comes of each further try that it gives up.
    place.bad(&server, 69, &["tries were in vain"]);
    assert!(place.part().metadata().unwrap().len() > MIB as u64);
    let before = server.of("/disk.qcow2").len();
    replaced.store(true, Ordering::SeqCst);
    place.good(&server, &bytes);
    let asked = server.of("/disk.qcow2");
    assert_eq!((asked.len(), asked[before].start), (before + 1, None));
}

#[test]
fn a_silent_server_is_given_up_after_some_tries() {
    let (place, bytes) = (Place::new(), disk(8, 2 * MIB));
    let all = bytes.clone();
    let server = serve(&bytes, move |request, stream| {
        if request.count == 0 {
            request.some(stream, &all, "\"one\"", MIB)?;
        }
        std::thread::sleep(Duration::from_secs(20));
        Ok(true)
    });
    let since = Instant::now();
    let said =
        place.bad(&server, 69, &["nothing came for 1 s; trying again (5 of 5)", "5 tries were in vain", "--url"]);
    assert!(since.elapsed() < Duration::from_secs(15), "{said}");
    assert_eq!(place.part().metadata().unwrap().len(), MIB as u64, "what has come is kept");
    // Nobody there at all.
    let place = Place::new();
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (url, list) = (format!("http://{gone}/disk.qcow2"), format!("http://{gone}/SUMS"));
    let (code, _, said) = place.run(&["--url", &url, "--checksums", &list]);
    assert!(code == 69 && said.contains("Connection refused") && said.contains("5 tries were in vain"), "{said}");
}

#[test]
fn what_is_not_what_the_list_says_leaves_nothing() {
    let bytes = disk(9, 2 * MIB);
    let mut lie = bytes.clone();
    lie[MIB] ^= 1;
    let says = ["is not the file that", "/SUMS lists (sha512:", "nothing of it was kept"];
    let (place, all) = (Place::new(), lie.clone());
    let server = serve(&bytes, move |request, stream| request.whole_or_rest(stream, &all, "\"one\"").map(|()| true));
    place.bad(&server, 1, &says);
    assert!(!place.part().exists() && server.of("/disk.qcow2").len() == 1);
    // In pieces: once more from its start, and no more than once.
    let (place, all) = (Place::new(), lie);
    let server = serve(&bytes, move |request, stream| match request.count {
        0 => request.some(stream, &all, "\"one\"", MIB).map(|()| true),
        _ => request.whole_or_rest(stream, &all, "\"one\"").map(|()| true),
    });
    place.bad(&server, 1, &says);
    assert!(!place.part().exists() && server.of("/disk.qcow2").len() == 3);
    // Shorter than it is, by the server's own word.
    let (place, all) = (Place::new(), bytes.clone());
    let server = serve(&bytes, move |request, stream| request.answer(stream, "200 OK", "", &all[..MIB]).map(|()| true));
    place.bad(&server, 1, &says);
    assert!(!place.part().exists());
}

#[test]
fn a_body_of_another_length_than_it_says_comes_to_an_end() {
    let bytes = disk(10, 2 * MIB);
    // Longer, by its word: it always breaks off at the same place.
    let (place, all) = (Place::new(), bytes.clone());
    let server = serve(&bytes, move |request, stream| {
        let start = request.start.map_or(0, |s| s as usize);
        let head = match start {
            0 => format!("HTTP/1.1 200 OK\r\nETag: \"one\"\r\nContent-Length: {}\r\n\r\n", all.len() + 5),
            _ => format!(
                "HTTP/1.1 206 Partial Content\r\nETag: \"one\"\r\nContent-Length: 5\r\nContent-Range: bytes {start}-{}/{}\r\n\r\n",
                start + 4,
                start + 5
            ),
        };
        request.raw(stream, head.as_bytes())?;
        request.raw(stream, &all[start..]).map(|()| true)
    });
    place.bad(&server, 69, &["the connection broke off", "5 tries were in vain"]);
    // Larger than any image.
    let place = Place::new();
    let server = serve(&bytes, move |request, stream| {
        request.raw(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999999\r\n\r\nQFI").map(|()| true)
    });
    place.bad(&server, 69, &["MiB, which no image has"]);
    assert!(!place.part().exists());
    // Without end, when the lock file says how long it is.
    let place = Place::new();
    let good = serve(&bytes, |_, _| Ok(false));
    place.good(&good, &bytes);
    std::fs::remove_file(place.image()).unwrap();
    let server = serve(&bytes, move |request, stream| {
        request.raw(stream, b"HTTP/1.1 200 OK\r\n\r\n")?;
        loop {
            request.raw(stream, &[7; 65536])?;
        }
    });
    let (code, _, said) = place.run(&["--url", &server.url("/disk.qcow2")]);
    assert!(code == 69 && said.contains("it sends more than 2 MiB, and does not end"), "{said}");
    assert!(!place.part().exists() && server.sent("/disk.qcow2") < 32 * MIB);
}

#[test]
fn a_list_that_is_none_is_said_and_nothing_is_fetched() {
    let bytes = disk(11, MIB);
    let good = hex(Algorithm::Sha256, &bytes);
    let zeros = "0".repeat(64);
    for (list, says) in [
        (format!("{good}  other.qcow2\n"), "/SUMS does not list disk.qcow2"),
        (format!("{good}  disk.qcow\n"), "though it has `disk.qcow`"),
        (format!("{good}  disk\u{1b}[2Jqcow2\n"), "though it has `disk\\u{1b}[2Jqcow2`"),
        (format!("{good}  ../../disk.qcow2\n{good}  /disk.qcow2\n"), "/SUMS does not list disk.qcow2"),
        (format!("{good}  disk.qcow2\n{zeros}  disk.qcow2\n"), "lists disk.qcow2 twice, with different checksums"),
        (format!("{}  disk.qcow2\n", &good[..40]), "has no SHA-256 or SHA-512 for disk.qcow2 (line 1)"),
        ("<html>\n<p>Please log in.\n".to_owned(), "is no list of SHA-256 or SHA-512 checksums"),
        (String::new(), "is no list of SHA-256 or SHA-512 checksums"),
        ("\0\u{fffd}\n".repeat(99), "is no list of SHA-256 or SHA-512 checksums"),
        (format!("{good}  x\n").repeat(40_000), "it is larger than 1 MiB"),
    ] {
        let place = Place::new();
        let server = with_list(&bytes, &list);
        place.bad(&server, 69, &[says]);
        assert_eq!(server.of("/disk.qcow2").len(), 0, "{says}");
    }
    // What a list may have beside: the format of the Red Hat family, comments, a signature.
    let place = Place::new();
    let list = format!("# disk.qcow2: {} bytes\nSHA256 (disk.qcow2) = {good}\n", bytes.len());
    place.good(&with_list(&bytes, &list), &bytes);
    assert!(place.lock().contains(&format!("digest: sha256:{good}\n")));
}

#[test]
fn we_are_sent_on_some_times_and_never_to_plain_http() {
    let bytes = disk(12, MIB);
    let to = |location: &'static str| {
        let list = sums(&bytes);
        let bytes = bytes.clone();
        Server::new(move |request, stream| match request.path.as_str() {
            "/disk.qcow2" => request.answer(stream, "302 Found", &format!("Location: {location}\r\n"), b""),
            "/mirror/x" => request.answer(stream, "301 Moved Permanently", "Location: y\r\n", b""),
            "/mirror/y" => request.whole_or_rest(stream, &bytes, "\"one\""),
            _ => request.answer(stream, "200 OK", "", list.as_bytes()),
        })
    };
    Place::new().good(&to("/mirror/x"), &bytes);
    let server = to("/disk.qcow2");
    Place::new().bad(&server, 69, &["it sends us on more than 5 times"]);
    assert_eq!(server.of("/disk.qcow2").len(), 6);
    // To an address of nobody's (RFC 5737): it is not even tried.
    Place::new().bad(
        &to("http://192.0.2.1/disk.qcow2"),
        69,
        &["it sends us on, but `http://192.0.2.1/disk.qcow2` is plain http"],
    );
    Place::new().bad(&to("ftp://127.0.0.1/disk.qcow2"), 69, &["is ftp, not https"]);
    for (status, says) in [("404 Not Found", "it answers 404 Not Found"), ("204 No Content", "it answers 204")] {
        let server = serve(&bytes, move |request, stream| request.answer(stream, status, "", b"").map(|()| true));
        Place::new().bad(&server, 69, &[says]);
        assert_eq!(server.of("/disk.qcow2").len(), 1, "{status}");
    }
    let server = serve(&bytes, |request, stream| request.raw(stream, b"SSH-2.0-OpenSSH_9.2\r\n").map(|()| true));
    Place::new().bad(&server, 69, &["could not fetch"]);
    let server = serve(&bytes, |request, stream| {
        request.answer(stream, "200 OK", "Content-Encoding: gzip\r\n", b"x").map(|()| true)
    });
    Place::new().bad(&server, 69, &["encoded as gzip"]);
}

#[test]
fn a_lock_file_holds_whatever_the_list_says() {
    let (place, old, new) = (Place::new(), disk(13, 2 * MIB), disk(14, 2 * MIB));
    place.good(&serve(&old, |_, _| Ok(false)), &old);
    let pinned = place.lock();
    // The vendor has another image now, and the list agrees with it.
    let server = serve(&new, |_, _| Ok(false));
    std::fs::remove_dir_all(place.at("cache")).unwrap();
    let (code, out, said) = place.from(&server, &[]);
    assert_eq!((code, out.as_str()), (1, ""), "{said}");
    let advice = "take the new one with: hardtack image fetch debian-12 --update";
    assert!(said.contains("debian-12 is not what hardtack.lock pins") && said.contains(advice), "{said}");
    assert!(!place.image().exists() && !place.part().exists() && place.lock() == pinned);
    assert_eq!(server.of("/SUMS").len(), 0, "a pinned image is not held to a list");
    // Of another length it is not even fetched.
    let longer = serve(&disk(15, 8 * MIB), |_, _| Ok(false));
    let (code, _, said) = place.from(&longer, &[]);
    assert!(code == 1 && said.contains("has 8388608 bytes, and the file that is pinned has 2097152"), "{said}");
    assert!(said.contains(advice) && !place.image().exists());
    // The list lies, the image is the pinned one: fine.
    let liar = with_list(&old, &sums(&new));
    let (code, _, said) = place.from(&liar, &[]);
    assert_eq!(code, 0, "{said}");
    assert!(place.lock() == pinned && std::fs::read(place.image()).unwrap() == old);
    // A person takes the new one; what else is pinned stays.
    let other = "  other-1:\n    image: https://example.org/x\n    size: 1\n    digest: sha256:";
    std::fs::write(place.at("hardtack.lock"), format!("{pinned}{other}{}\n", "a".repeat(64))).unwrap();
    let (code, _, said) = place.from(&server, &["--update"]);
    assert!(code == 0 && said.ends_with("pinned anew in hardtack.lock; commit hardtack.lock\n"), "{said}");
    assert!(std::fs::read(place.image()).unwrap() == new);
    let lock = place.lock();
    assert!(lock.contains(&hex(Algorithm::Sha512, &new)) && lock.contains(other), "{lock}");
    // The cache of one project, the lock file of another.
    std::fs::write(place.at("old.lock"), &pinned).unwrap();
    let (code, _, said) = place.run(&["--lock", "old.lock", "--url", &liar.url("/disk.qcow2")]);
    assert_eq!(code, 0, "{said}");
    assert!(std::fs::read(place.image()).unwrap() == old);
}

#[test]
fn what_is_no_disk_of_its_own_is_refused() {
    let mut backed = disk(16, MIB);
    backed[15] = 104;
    for (bytes, says) in [(b"#!/bin/sh\n".repeat(50), "no qcow2 disk"), (backed, "stands on another file")] {
        let place = Place::new();
        place.bad(&serve(&bytes, |_, _| Ok(false)), 69, &[says]);
        assert!(!place.part().exists());
    }
}

#[test]
fn used_wrongly_it_says_what_to_do() {
    let place = Place::new();
    let (code, out, _) = place.run(&["--help"]);
    assert!(code == 0 && out.contains("Exit codes: 1 what came is not what it must be; 69"), "{out}");
    let lock = |text: &str| std::fs::write(place.at("bad.lock"), text).unwrap();
    for (arguments, says) in [
        (&["debian-12", "--patience", "0"][..], "0 is not in 1..=3600"),
        (&["debian-13a"], "there is no image `debian-13a`; did you mean `debian-13`?"),
        (
            &["debian-12", "--url", "http://example.org/x.qcow2"],
            "is plain http, and anybody on the way could change what comes; use https",
        ),
        (&["debian-12", "--checksums", "http://example.org/x"], "is plain http"),
        (
            &["debian-12", "--url", "https://me:geheim@example.org/x"],
            "this URL holds a name or a password; leave them out",
        ),
        (&["debian-12", "--url", "/etc/passwd"], "is no URL; write it as https://host/path/file"),
        (&["debian-12", "--lock", "no/hardtack.lock"], "no/hardtack.lock: cannot be written: "),
        (&["debian-12", "--lock", "."], "this is a directory"),
    ] {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("hardtack"));
        command.args(["image", "fetch"]).args(arguments);
        let done = command.current_dir(place.0.path()).env("XDG_CACHE_HOME", place.at("cache")).output().unwrap();
        let said = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(says) && !said.contains("geheim"), "{arguments:?}: {said}");
    }
    for (text, says) in [
        ("lock: 2\nimages: {}\n", "bad.lock: this is a lock file of version 2; this hardtack knows 1"),
        ("lock: 1\n", "a lock file needs the key `images`"),
        ("lock: 1\nimages: { debian-12: { image: x, size: 1, digest: 'sha256:00' } }\n", "`sha256:00` is no digest"),
        ("<<<<<<< HEAD\nlock: 1\n", "bad.lock:"),
    ] {
        lock(text);
        let (code, _, said) = place.run(&["--lock", "bad.lock"]);
        assert!(code == 1 && said.contains(says), "{said}");
    }
    lock(&format!(
        "lock: 1\nimages: {{ debian-12: {{ image: 'http://example.org/x', size: 1, digest: 'sha256:{}' }} }}\n",
        "a".repeat(64)
    ));
    let (code, _, said) = place.run(&["--lock", "bad.lock"]);
    assert!(code == 1 && said.contains("bad.lock: debian-12: ") && said.contains("plain http"), "{said}");
    assert!(!place.at("cache").exists(), "nothing was begun");
    assert_eq!(names(place.0.path()), ["bad.lock"]);
}

fn names(folder: &Path) -> Vec<String> {
    std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}
