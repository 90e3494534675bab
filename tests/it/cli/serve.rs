//! `hardtack serve`: over HTTP, each file once.

use super::Place;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

/// The server, ended with the test.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The status and the body of what is answered.
fn get(address: &str, path: &str) -> (u16, Vec<u8>) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    let end = all.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&all[..end]).into_owned();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), all[end + 4..].to_vec())
}

fn whole(place: &Place) {
    let spec = std::fs::read_to_string(place.at("box.yaml")).unwrap() + "deliver: [cloud-init, bare-metal]\n";
    std::fs::write(place.at("both.yaml"), spec).unwrap();
    std::fs::create_dir_all(place.at("all")).unwrap();
    assert_eq!(place.run(&["bake", "both.yaml", "-o", "all/box"]).0, 0);
}

#[test]
fn a_machine_takes_its_files_once_by_name_or_by_mac() {
    let place = Place::new();
    whole(&place);
    std::fs::write(place.at("machines"), "# the rack\n52:54:00:12:34:56 box\n").unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_hardtack"))
        .args(["serve", "all", "--listen", "127.0.0.1:0", "--machines", "machines", "--until-taken"])
        .current_dir(place.at(""))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut served = Served(child);
    let mut lines = BufReader::new(served.0.stdout.take().unwrap()).lines();
    let url = lines.next().unwrap().unwrap();
    let (address, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let token = path.split('/').next().unwrap();
    assert!(token.len() == 32 && path.ends_with("/box/"), "{url}");
    let file = |name: &str| std::fs::read(place.at(&format!("all/box/{name}"))).unwrap();
    let ask = |path: &str| get(address, &format!("/{token}/{path}"));
    assert_eq!(ask("box/meta-data"), (200, file("cloud-init/meta-data")));
    assert_eq!(ask("52-54-00-12-34-56/user-data"), (200, file("cloud-init/user-data")));
    assert_eq!(ask("box/user-data").0, 410, "it was taken under another name");
    assert_eq!(get(address, "/wrong/box/install").0, 404);
    assert_eq!(ask("box/../../../etc/passwd").0, 404);
    assert_eq!(ask("box/install"), (200, file("bare-metal/install")));
    assert_eq!(ask("box/box.tar.gz"), (200, file("bare-metal/box.tar.gz")));
    // All has been taken: it ends, and has said who took what, but not how to.
    assert!(served.0.wait().unwrap().success());
    let log: Vec<String> = lines.map(Result::unwrap).collect();
    let said = |what: &str| log.iter().any(|line| line.contains(what));
    assert!(
        log.len() == 7 && said(" 127.0.0.1 200 box user-data ") && said(" 410 taken before: user-data"),
        "{log:#?}"
    );
    assert!(!said(token));
}

#[test]
fn only_whole_bundles_are_served() {
    let place = Place::new();
    whole(&place);
    assert_eq!(place.run(&["serve", "nowhere"]).0, 2);
    assert_eq!(place.run(&["serve", ".ssh"]).0, 2);
    std::fs::write(place.at("machines"), "one\nserial-1 other\nserial-1 box\nserial1 box\n").unwrap();
    let (code, _, err) = place.run(&["serve", "all", "--machines", "machines"]);
    assert_eq!(code, 1);
    for wrong in
        ["machines:1: write a MAC", "machines:2: there is no bundle for `other`", "machines:4: `serial1` is here twice"]
    {
        assert!(err.contains(wrong), "{err}");
    }
    std::fs::write(place.at("signers"), "").unwrap();
    let (code, _, err) = place.run(&["serve", "all", "--signers", "signers"]);
    assert!(code == 1 && err.contains("nobody has signed it"), "{err}");
    std::fs::write(place.at("all/box/cloud-init/user-data"), "#cloud-config\n").unwrap();
    let (code, _, err) = place.run(&["serve", "all"]);
    assert!(code == 1 && err.contains("cloud-init/user-data is not as it was baked"), "{err}");
}
