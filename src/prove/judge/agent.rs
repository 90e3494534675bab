//! A key agent with one key: a security key as sshd sees it. The OpenSSH client asks it to sign (draft-miller-ssh-agent), and what it
//! signs is what a FIDO authenticator signs (OpenSSH's PROTOCOL.u2f).

use anyhow::{Context, Result, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use ring::signature::{Ed25519KeyPair, KeyPair};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const KIND: &str = "sk-ssh-ed25519@openssh.com";
/// What the key is for, as OpenSSH makes it.
const APPLICATION: &str = "ssh:";
/// Somebody has touched it; somebody has given its PIN.
const TOUCHED: u8 = 1;
const VERIFIED: u8 = 4;
/// No message of a client that only wants to log in is longer.
const LONGEST: usize = 1 << 18;

/// A security key that was made for this run.
#[derive(Debug, Clone)]
pub struct SecurityKey {
    pair: Arc<Ed25519KeyPair>,
}

fn text(into: &mut Vec<u8>, bytes: &[u8]) {
    into.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    into.extend(bytes);
}

fn take<'a>(from: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = from.split_first_chunk::<4>()?;
    let bytes = rest.get(..u32::from_be_bytes(*length) as usize)?;
    *from = &rest[bytes.len()..];
    Some(bytes)
}

impl SecurityKey {
    /// Of a seed, which is this run's own secret.
    ///
    /// # Errors
    /// None that is known: every seed is a key.
    pub fn new(seed: &[u8]) -> Result<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(digest(&SHA256, seed).as_ref());
        Ok(SecurityKey { pair: Arc::new(pair.map_err(|_| anyhow!("could not make a security key"))?) })
    }

    fn blob(&self) -> Vec<u8> {
        let mut blob = Vec::new();
        text(&mut blob, KIND.as_bytes());
        text(&mut blob, self.pair.public_key().as_ref());
        text(&mut blob, APPLICATION.as_bytes());
        blob
    }

    /// Its line of an authorized_keys file.
    #[must_use]
    pub fn public(&self) -> String {
        format!("{KIND} {} hardtack-prober", STANDARD.encode(self.blob()))
    }

    // The message is signed by its digest, beside that of what the key is for, what the person did, and how often it has signed.
    fn sign(&self, message: &[u8], verified: bool) -> Vec<u8> {
        let flags = if verified { TOUCHED | VERIFIED } else { TOUCHED };
        let counter = 1_u32.to_be_bytes();
        let mut signed = digest(&SHA256, APPLICATION.as_bytes()).as_ref().to_vec();
        signed.push(flags);
        signed.extend(counter);
        signed.extend(digest(&SHA256, message).as_ref());
        let mut signature = Vec::new();
        text(&mut signature, KIND.as_bytes());
        text(&mut signature, self.pair.sign(&signed).as_ref());
        signature.push(flags);
        signature.extend(counter);
        signature
    }

    // What an agent answers to a message: its keys, a signature, or that it cannot.
    fn answer(&self, message: &[u8], verified: bool) -> Vec<u8> {
        const FAILURE: u8 = 5;
        match message.split_first() {
            // Which keys there are.
            Some((11, _)) => {
                let mut answer = vec![12];
                answer.extend(1_u32.to_be_bytes());
                text(&mut answer, &self.blob());
                text(&mut answer, b"hardtack-prober");
                answer
            }
            // Sign this.
            Some((13, mut rest)) => match (take(&mut rest), take(&mut rest)) {
                (Some(key), Some(data)) if key == self.blob() => {
                    let mut answer = vec![14];
                    text(&mut answer, &self.sign(data, verified));
                    answer
                }
                _ => vec![FAILURE],
            },
            _ => vec![FAILURE],
        }
    }
}

/// An agent that listens, until it is dropped.
#[derive(Debug)]
pub struct Agent {
    /// Its socket.
    pub socket: PathBuf,
    over: Arc<AtomicBool>,
}

impl Agent {
    /// Listens in a folder that only we can read.
    ///
    /// # Errors
    /// No socket can be made there.
    pub fn start(key: &SecurityKey, verified: bool, folder: &Path) -> Result<Agent> {
        let socket = folder.join(if verified { "agent-verified" } else { "agent-touched" });
        // One of an earlier login.
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).context("could not listen as a key agent")?;
        let (key, over) = (key.clone(), Arc::new(AtomicBool::new(false)));
        let agent = Agent { socket, over: over.clone() };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                // A client that breaks off has what it wanted, or says itself that it has not.
                let _ = stream.and_then(|stream| serve(&key, verified, stream));
            }
        });
        Ok(agent)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // It waits for somebody.
        let _ = UnixStream::connect(&self.socket);
    }
}

fn serve(key: &SecurityKey, verified: bool, mut stream: UnixStream) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(300)))?;
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > LONGEST {
            return Err(io::Error::new(ErrorKind::InvalidData, "a message that is too long"));
        }
        let mut message = vec![0; length];
        stream.read_exact(&mut message)?;
        let mut answer = Vec::new();
        text(&mut answer, &key.answer(&message, verified));
        stream.write_all(&answer)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::signature::{ED25519, UnparsedPublicKey};

    #[test]
    fn what_is_signed_is_what_a_security_key_signs() {
        let key = SecurityKey::new(b"a run").unwrap();
        for (verified, flags) in [(true, 5), (false, 1)] {
            let mut message = vec![13];
            text(&mut message, &key.blob());
            text(&mut message, b"to be signed");
            message.extend([0; 4]);
            let answer = key.answer(&message, verified);
            assert_eq!(answer[0], 14);
            let mut rest = &answer[1..];
            let mut signature = take(&mut rest).unwrap();
            assert_eq!(take(&mut signature).unwrap(), KIND.as_bytes());
            let bytes = take(&mut signature).unwrap();
            assert_eq!(signature, [flags, 0, 0, 0, 1]);
            let mut signed = digest(&SHA256, b"ssh:").as_ref().to_vec();
            signed.extend(signature);
            signed.extend(digest(&SHA256, b"to be signed").as_ref());
            UnparsedPublicKey::new(&ED25519, key.pair.public_key().as_ref()).verify(&signed, bytes).unwrap();
        }
    }

    #[test]
    fn what_is_no_question_is_answered_by_a_failure() {
        let key = SecurityKey::new(b"a run").unwrap();
        for bad in [&b""[..], &[13], &[13, 255, 255, 255, 255], &[13, 0, 0, 0, 1, 7, 0, 0, 0, 0], &[99, 1, 2]] {
            assert_eq!(key.answer(bad, true), [5]);
        }
        assert_eq!(key.answer(&[11], true)[0], 12);
        assert_ne!(SecurityKey::new(b"another").unwrap().public(), key.public());
    }
}
