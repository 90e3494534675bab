//! The algorithms that sshd offers, as whoever connects sees them: its SSH_MSG_KEXINIT (RFC 4253, 7.1).

use crate::plan::proof::Offers;
use crate::prove::verdict::Judgement;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

/// Longer than sshd takes to answer under emulation, on a host that does other things as well.
const PATIENCE: Duration = Duration::from_secs(60);
/// No packet may be longer than that before keys are exchanged (RFC 4253, 6.1).
const LONGEST: usize = 35_000;
/// SSH_MSG_KEXINIT.
const KEXINIT: u8 = 20;

/// Asks a port, by the bridge that leads to it. `source` is who the machine sees.
#[must_use]
pub fn ask(offers: &Offers, bridge: SocketAddr, source: IpAddr) -> Judgement {
    match lists(bridge) {
        Ok(seen) => judge(offers, &seen),
        Err(error) => Judgement::unknown(format!("from {source}: sshd did not say what it offers: {error}")),
    }
}

// The first lists: key exchange, host keys, ciphers and MACs, these two to the machine and from it.
fn lists(bridge: SocketAddr) -> io::Result<Vec<Vec<String>>> {
    let stream = TcpStream::connect_timeout(&bridge, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    (&stream).write_all(b"SSH-2.0-hardtack\r\n")?;
    read(&mut BufReader::new(stream))
}

fn broken(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

fn read(from: &mut impl BufRead) -> io::Result<Vec<Vec<String>>> {
    // Lines of other text may come before the version (RFC 4253, 4.2).
    for lines in 0.. {
        let mut line = Vec::new();
        from.take(256).read_until(b'\n', &mut line)?;
        if line.starts_with(b"SSH-") {
            break;
        }
        if line.is_empty() || lines > 32 {
            return Err(broken("this is not SSH"));
        }
    }
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length) as usize;
    if !(2..=LONGEST).contains(&length) {
        return Err(broken("a packet of no good length"));
    }
    let mut packet = vec![0; length];
    from.read_exact(&mut packet)?;
    let padding = usize::from(packet[0]);
    let end = length.checked_sub(padding).filter(|end| *end > 1).ok_or_else(|| broken("a packet of padding"))?;
    parse(&packet[1..end])
}

fn parse(payload: &[u8]) -> io::Result<Vec<Vec<String>>> {
    let cut = || broken("a packet that is cut off");
    let Some((&KEXINIT, rest)) = payload.split_first() else { return Err(broken("not what it offers")) };
    // A cookie, which nobody can foresee.
    let mut rest = rest.get(16..).ok_or_else(cut)?;
    let mut lists = Vec::new();
    for _ in 0..6 {
        let (length, after) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
        let length = u32::from_be_bytes(*length) as usize;
        let list = after.get(..length).ok_or_else(cut)?;
        let text = std::str::from_utf8(list).map_err(|_| broken("names that are no text"))?;
        lists.push(text.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect());
        rest = &after[length..];
    }
    Ok(lists)
}

// Announcements that stand among the key exchanges and are none (RFC 8308; OpenSSH's PROTOCOL, 1.9).
fn is_none(name: &str) -> bool {
    name.starts_with("kex-strict-") || name.starts_with("ext-info-")
}

fn judge(offers: &Offers, seen: &[Vec<String>]) -> Judgement {
    let wanted = [&offers.kex, &offers.host_keys, &offers.ciphers, &offers.ciphers, &offers.macs, &offers.macs];
    let what = ["key exchanges", "host keys", "ciphers", "ciphers", "MACs", "MACs"];
    for ((what, wanted), seen) in what.iter().zip(wanted).zip(seen) {
        let mut seen: Vec<&str> = seen.iter().map(String::as_str).filter(|name| !is_none(name)).collect();
        let mut wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
        // The client's order counts, and sshd names its keys in that of their files.
        if *what == "host keys" {
            seen.sort_unstable();
            wanted.sort_unstable();
        }
        if seen != wanted {
            let seen = crate::report::shown_up_to(300, &seen.join(", "));
            return Judgement::seen(false, format!("the {what} on the wire are: {seen}"));
        }
    }
    let all: usize = wanted[..4].iter().map(|list| list.len()).sum();
    Judgement::seen(
        true,
        format!("{} key exchanges, and {} other algorithms", offers.kex.len(), all - offers.kex.len()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prove::verdict::Verdict::{Fails, Holds};

    fn packet(lists: &[&str]) -> Vec<u8> {
        let mut payload = vec![KEXINIT];
        payload.extend([7; 16]);
        for list in lists {
            payload.extend(u32::try_from(list.len()).unwrap().to_be_bytes());
            payload.extend(list.as_bytes());
        }
        let mut all = b"hello\r\nSSH-2.0-OpenSSH_9.2\r\n".to_vec();
        all.extend(u32::try_from(payload.len() + 1 + 4).unwrap().to_be_bytes());
        all.push(4);
        all.extend(payload);
        all.extend([0; 4]);
        all
    }

    #[test]
    fn what_is_offered_is_what_is_wanted_in_the_same_order() {
        let text = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let offers = Offers {
            port: 22,
            from: None,
            interface: None,
            kex: text(&["a", "b"]),
            host_keys: text(&["k"]),
            ciphers: text(&["c"]),
            macs: text(&["m", "n"]),
        };
        let judged = |lists: &[&str]| judge(&offers, &read(&mut packet(lists).as_slice()).unwrap()).verdict;
        assert_eq!(judged(&["a,b,kex-strict-s-v00@openssh.com", "k", "c", "c", "m,n", "m,n", "none"]), Holds);
        assert_eq!(judged(&["b,a", "k", "c", "c", "m,n", "m,n"]), Fails);
        assert_eq!(judged(&["a,b", "k", "c", "c", "m,n", "m,n,hmac-sha1"]), Fails);
        assert_eq!(judged(&["a,b", "k", "c,3des-cbc", "c", "m,n", "m,n"]), Fails);
    }

    #[test]
    fn what_is_no_offer_is_told_apart() {
        let whole = packet(&["a", "k", "c", "c", "m", "m"]);
        assert!(read(&mut whole.as_slice()).is_ok());
        for end in 0..whole.len() {
            assert!(read(&mut &whole[..end]).is_err(), "{end} bytes of it");
        }
        for bad in [
            b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
            b"SSH-2.0-x\r\n\xff\xff\xff\xff".to_vec(),
            vec![b'a'; 90_000],
        ] {
            assert!(read(&mut bad.as_slice()).is_err());
        }
    }
}
