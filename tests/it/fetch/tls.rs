//! https, against the server of OpenSSL with a certificate of our own: what the machine trusts is trusted, and nothing else.

use super::{MIB, Place, disk, sums};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// `openssl s_server`; it is ended with the test.
struct Tls(Child, String);

impl Tls {
    /// Serves the files of the place, where it makes an authority, and a certificate for 127.0.0.1.
    fn new(place: &Place) -> Self {
        let make = |arguments: &str| {
            let common = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=here";
            let made = Command::new("openssl")
                .args(common.split(' ').chain(arguments.split(' ')))
                .current_dir(place.0.path())
                .output()
                .expect("openssl, of openssl");
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        };
        make("-keyout ca-key.pem -out ca.pem");
        make(
            "-CA ca.pem -CAkey ca-key.pem -addext basicConstraints=critical,CA:FALSE \
             -addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out cert.pem",
        );
        let mut child = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-WWW", "-cert", "cert.pem", "-key", "key.pem"])
            .current_dir(place.0.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let address = lines.find_map(|line| line.strip_prefix("ACCEPT ").map(str::to_owned)).expect("it says where");
        // It goes on talking, and would stop for a pipe that is full.
        std::thread::spawn(move || lines.for_each(drop));
        Tls(child, address)
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn https_is_taken_from_whom_the_machine_trusts() {
    let (place, bytes) = (Place::new(), disk(20, 2 * MIB));
    std::fs::write(place.at("disk.qcow2"), &bytes).unwrap();
    std::fs::write(place.at("SUMS"), sums(&bytes)).unwrap();
    let server = Tls::new(&place);
    let (url, list) = (format!("https://{}/disk.qcow2", server.1), format!("https://{}/SUMS", server.1));
    let run = |trusted: Option<&str>| {
        let mut command = place.command("1", &["--url", &url, "--checksums", &list]);
        command.env_remove("ALL_PROXY").env_remove("http_proxy");
        if let Some(file) = trusted {
            command.env("SSL_CERT_FILE", place.at(file));
        }
        let done = command.output().unwrap();
        (done.status.code(), String::from_utf8(done.stderr).unwrap())
    };
    let (code, said) = run(None);
    assert_eq!(code, Some(69), "{said}");
    assert!(
        said.contains("it cannot be trusted: invalid peer certificate: UnknownIssuer") && !said.contains("again ("),
        "{said}"
    );
    assert!(!place.image().exists());
    let (code, said) = run(Some("ca.pem"));
    assert_eq!(code, Some(0), "{said}");
    assert!(std::fs::read(place.image()).unwrap() == bytes);
}
