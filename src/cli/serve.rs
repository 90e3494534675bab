//! `hardtack serve DIR`: bundles for machines that boot from the network, each file once.

use super::{BAD, Stop, USAGE, WELL, bake, terminal, verify};
use crate::report::shown;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use tiny_http::{Method, Request, Response, Server};

#[derive(clap::Args)]
pub(super) struct Args {
    /// A folder with bundles in it, or one bundle
    dir: PathBuf,
    /// Where to listen; machines elsewhere reach only an address of the network that they are on
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8000")]
    listen: SocketAddr,
    /// What machines call themselves: lines of a MAC or a serial number, a blank, and the name of a bundle
    #[arg(long, value_name = "FILE")]
    machines: Option<PathBuf>,
    /// Serve only bundles that one of these has signed
    #[arg(long, value_name = "FILE")]
    signers: Option<PathBuf>,
    /// End when every file that is served has been taken
    #[arg(long)]
    until_taken: bool,
}

/// What a machine may take, by the last word of its address, and where that is in the bundle.
fn served(name: &str) -> [(String, String); 4] {
    let archive = format!("{name}.tar.gz");
    [
        ("user-data".to_owned(), "cloud-init/user-data".to_owned()),
        ("meta-data".to_owned(), "cloud-init/meta-data".to_owned()),
        ("install".to_owned(), "bare-metal/install".to_owned()),
        (archive.clone(), format!("bare-metal/{archive}")),
    ]
}

/// As a machine may write its MAC, or its serial number, in an address.
fn key(text: &str) -> String {
    let plain: String = text.chars().filter(|c| !":-. ".contains(*c)).collect();
    plain.to_ascii_lowercase()
}

/// What there is to serve, and what of it has been taken.
struct Shelf {
    token: String,
    /// The files of each bundle, by its name.
    bundles: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    /// The names of bundles by what machines call themselves.
    machines: BTreeMap<String, String>,
    taken: BTreeSet<(String, String)>,
}

/// What is answered: a status, and what for.
enum Answer {
    Gives(String, Vec<u8>),
    Nothing(u16, &'static str),
}

impl Shelf {
    /// What is given for an address. What is given once is not given again, for whoever asks then is not the machine, or it has been
    /// robbed.
    fn answer(&mut self, path: &str) -> Answer {
        let words: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let [token, machine, file] = words[..] else { return Answer::Nothing(404, "no such address") };
        if token != self.token {
            return Answer::Nothing(404, "not the token");
        }
        let name = match self.bundles.contains_key(machine) {
            true => machine.to_owned(),
            false => self.machines.get(&key(machine)).cloned().unwrap_or_default(),
        };
        let Some(files) = self.bundles.get(&name) else { return Answer::Nothing(404, "nobody knows this machine") };
        // cloud-init asks for it, and takes nothing for an answer.
        if file == "vendor-data" && files.contains_key("user-data") {
            return Answer::Gives(name, Vec::new());
        }
        let Some(data) = files.get(file) else { return Answer::Nothing(404, "not a file of its bundle") };
        if !self.taken.insert((name.clone(), file.to_owned())) {
            return Answer::Nothing(410, "taken before");
        }
        Answer::Gives(name, data.clone())
    }

    fn is_empty(&self) -> bool {
        self.taken.len() == self.bundles.values().map(BTreeMap::len).sum::<usize>()
    }
}

fn bundles(args: &Args) -> Result<BTreeMap<String, BTreeMap<String, Vec<u8>>>, Stop> {
    let dir = &args.dir;
    let mut folders = Vec::new();
    if bake::is_bundle(dir) {
        folders.push(dir.clone());
    } else {
        let entries = std::fs::read_dir(dir).map_err(|e| Stop::Because(USAGE, format!("{}: {e}", dir.display())))?;
        folders.extend(entries.filter_map(Result::ok).map(|e| e.path()).filter(|path| bake::is_bundle(path)));
        folders.sort();
    }
    if folders.is_empty() {
        let why = format!("{}: there is no bundle; `hardtack bake -o {0}/NAME` makes one", dir.display());
        return Err(Stop::Because(USAGE, why));
    }
    let mut all: BTreeMap<String, BTreeMap<String, Vec<u8>>> = BTreeMap::new();
    for folder in folders {
        terminal::err(&verify::checked(&folder, args.signers.as_deref())?);
        let bad = |why: String| Stop::Because(BAD, format!("{}: {why}", folder.display()));
        let manifest = std::fs::read(folder.join("bundle.json")).map_err(|e| bad(e.to_string()))?;
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).map_err(|e| bad(e.to_string()))?;
        let name = manifest["name"].as_str().unwrap_or_default().to_owned();
        let read = |path: &str| std::fs::read(folder.join(path)).ok();
        let files: BTreeMap<_, _> =
            served(&name).into_iter().filter_map(|(word, path)| Some((word, read(&path)?))).collect();
        if files.is_empty() {
            return Err(bad(
                "it has nothing for a machine that boots from the network; deliver: [cloud-init, bare-metal]"
                    .to_owned(),
            ));
        }
        if all.insert(name.clone(), files).is_some() {
            return Err(bad(format!("another bundle is for {name} too")));
        }
    }
    Ok(all)
}

fn machines(
    path: &Path,
    known: &BTreeMap<String, BTreeMap<String, Vec<u8>>>,
) -> Result<BTreeMap<String, String>, Stop> {
    let name = path.display();
    let text = std::fs::read_to_string(path).map_err(|e| Stop::Because(USAGE, format!("{name}: {e}")))?;
    let (mut all, mut wrong) = (BTreeMap::new(), Vec::new());
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let place = format!("{name}:{}", at + 1);
        match words[..] {
            [machine, bundle] if known.contains_key(bundle) => {
                if all.insert(key(machine), bundle.to_owned()).is_some() {
                    wrong.push(format!("{place}: `{}` is here twice", shown(machine)));
                }
            }
            [_, bundle] => wrong.push(format!("{place}: there is no bundle for `{}`", shown(bundle))),
            _ => wrong.push(format!("{place}: write a MAC or a serial number, a blank, and the name of a bundle")),
        }
    }
    if wrong.is_empty() { Ok(all) } else { Err(Stop::Because(BAD, wrong.join("\nhardtack: "))) }
}

// 128 bits of the kernel's.
fn token() -> Result<String, Stop> {
    let mut bytes = [0_u8; 16];
    let read = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(|e| Stop::world(format!("no token can be made: {e}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

// Who took what, and when: seconds since 1970. The token is in no line.
#[expect(clippy::disallowed_methods, reason = "a log has the time; no bundle is made here")]
fn log(request: &Request, status: u16, words: &str) {
    let at = SystemTime::now().duration_since(UNIX_EPOCH).map(|d| d.as_secs()).unwrap_or_default();
    let who = request.remote_addr().map_or_else(|| "-".to_owned(), |a| a.ip().to_string());
    terminal::out(&format!("{at} {who} {status} {}\n", shown(words)));
}

pub(super) fn run(args: &Args) -> Result<u8, Stop> {
    let bundles = bundles(args)?;
    let machines = args.machines.as_deref().map_or_else(|| Ok(BTreeMap::new()), |path| machines(path, &bundles))?;
    let mut shelf = Shelf { token: token()?, bundles, machines, taken: BTreeSet::new() };
    let server = Server::http(args.listen).map_err(|e| Stop::world(format!("{}: {e}", args.listen)))?;
    let listens = server.server_addr().to_ip().ok_or_else(|| Stop::bug("no address"))?;
    for name in shelf.bundles.keys() {
        terminal::out(&format!("http://{listens}/{}/{name}/\n", shelf.token));
    }
    terminal::err(
        "kernel arguments for cloud-init: ds=nocloud-net;s=URL with one of these; each file is given once; Ctrl-C ends it\n",
    );
    for request in server.incoming_requests() {
        let path = request.url().split('?').next().unwrap_or_default().to_owned();
        let file = path.rsplit('/').next().unwrap_or_default().to_owned();
        let answer = match request.method() {
            Method::Get => shelf.answer(&path),
            _ => Answer::Nothing(405, "not asked by GET"),
        };
        let sent = match answer {
            Answer::Gives(name, data) => {
                log(&request, 200, &format!("{name} {file} {} bytes", data.len()));
                let left = request.respond(Response::from_data(data)).is_err();
                if left {
                    terminal::out(&format!(
                        "- {}: whoever asked has not taken all of it; it counts as taken\n",
                        shown(&file)
                    ));
                }
                !left
            }
            Answer::Nothing(status, why) => {
                log(&request, status, &format!("{why}: {file}"));
                request.respond(Response::from_string(why).with_status_code(status)).is_ok()
            }
        };
        if sent && args.until_taken && shelf.is_empty() {
            return Ok(WELL);
        }
    }
    Ok(WELL)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shelf() -> Shelf {
        let files = ["user-data", "meta-data"].map(|name| (name.to_owned(), name.as_bytes().to_vec()));
        Shelf {
            token: "t".to_owned(),
            bundles: BTreeMap::from([("web01".to_owned(), BTreeMap::from(files))]),
            machines: BTreeMap::from([(key("52:54:00:12:34:AB"), "web01".to_owned())]),
            taken: BTreeSet::new(),
        }
    }

    fn status(shelf: &mut Shelf, path: &str) -> u16 {
        match shelf.answer(path) {
            Answer::Gives(..) => 200,
            Answer::Nothing(status, _) => status,
        }
    }

    #[test]
    fn a_file_is_given_once_and_only_for_the_token() {
        let mut shelf = shelf();
        for path in [
            "/",
            "/t",
            "/t/web01",
            "/x/web01/user-data",
            "/t/web02/user-data",
            "/t/web01/bundle.json",
            "/t/web01/../web01",
            "/t//user-data",
        ] {
            assert_eq!(status(&mut shelf, path), 404, "{path}");
        }
        assert_eq!(status(&mut shelf, "/t/web01/user-data"), 200);
        assert_eq!(status(&mut shelf, "/t/52-54-00-12-34-ab/user-data"), 410, "the same machine by another name");
        assert_eq!([1, 2].map(|_| status(&mut shelf, "/t/web01/vendor-data")), [200, 200]);
        assert!(!shelf.is_empty());
        assert_eq!(status(&mut shelf, "/t/525400-1234AB/meta-data"), 200);
        assert!(shelf.is_empty());
    }
}
