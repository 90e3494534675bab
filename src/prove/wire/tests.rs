//! Whatever the guest sends, nothing here may panic.
use std::io::Read;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Instant;

use proptest::collection::vec;
use proptest::prelude::*;
use smoltcp::wire::{Ipv4Packet, TcpControl, TcpPacket};

use super::frames::{Mac, ROUTER6, Said, our_mac};
use super::segment::Segment;
use super::services::Services;
use super::*;

const GUEST: Mac = [0x52, 0x54, 0, 0x12, 0x34, 0x56];

pub(super) fn shared() -> (Arc<Shared>, UnixStream) {
    let (wake, woken) = UnixStream::pair().expect("a pair");
    let mut inner = Inner { notes: Some(Vec::new()), ..Inner::default() };
    inner.guest.mac = Some(GUEST);
    // The name that is asked for below.
    inner.names.insert("foo".to_owned(), IpAddr::from([192, 0, 2, 80]));
    let shared = Shared {
        network: Network::default(),
        inner: Mutex::new(inner),
        changed: Condvar::new(),
        wake,
        sweeping: Mutex::default(),
        ports: AtomicU32::new(0),
    };
    (Arc::new(shared), woken)
}

/// One good frame of each kind, as a guest might send them.
fn samples() -> Vec<Vec<u8>> {
    let macs = (GUEST, our_mac(0));
    let Network { guest4, router4, .. } = Network::default();
    let guest6 = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
    let v4 = |port| SocketAddr::from((guest4, port));
    let v6 = |port| SocketAddr::from((guest6, port));
    let far = SocketAddr::from(([192, 0, 2, 5], 20_000));
    let mut discover = vec![0; 240];
    discover[..3].copy_from_slice(&[1, 1, 6]);
    discover[236..].copy_from_slice(&[99, 130, 83, 99]);
    discover.extend([53, 1, 1, 61, 2, 7, 7, 50, 4, 198, 18, 0, 10, 255]);
    // An ICMP error is an echo whose head is overwritten, and whose body quotes us.
    let mut error = build::udp(macs, v4(0), far, &build::tcp(macs, far, v4(22), TcpControl::Syn, 1)[14..]);
    error[23] = 1;
    error[34..42].copy_from_slice(&[3, 3, 0, 0, 0, 0, 0, 0]);
    vec![
        build::arp_frame(true, GUEST, [0; 6], guest4, router4),
        build::arp_frame(false, GUEST, our_mac(3), guest4, router4),
        build::solicit(macs, guest6, ROUTER6),
        build::advert(macs, guest6, ROUTER6),
        build::router_advert(Network::default().prefix6, false, &[Ipv6Addr::LOCALHOST]),
        build::tcp(macs, v4(22), far, TcpControl::Syn, 7),
        build::tcp(macs, v6(22), v6(40_000), TcpControl::Rst, 7),
        build::udp(macs, SocketAddr::from(([0; 4], 68)), SocketAddr::from(([255; 4], 67)), &discover),
        build::udp(
            macs,
            v4(999),
            SocketAddr::from((router4, 53)),
            b"\0\x01\x01\0\0\x01\0\0\0\0\0\0\x03foo\0\0\x01\0\x01",
        ),
        build::echo(macs, guest4.into(), router4.into(), 5).expect("one family"),
        build::echo(macs, guest6.into(), ROUTER6.into(), 5).expect("one family"),
        error,
    ]
}

/// What is answered whenever it is said: a request of ARP, and a connection that nobody asked for.
pub(super) fn flood() -> [Vec<u8>; 2] {
    let Network { guest4, router4, .. } = Network::default();
    let (from, to) = (SocketAddr::from((guest4, 22)), SocketAddr::from(([192, 0, 2, 5], 20_000)));
    let mut accepted = build::tcp((GUEST, our_mac(0)), from, to, TcpControl::Syn, 7);
    accepted[47] |= 16;
    [build::arp_frame(true, GUEST, [0; 6], guest4, router4), accepted]
}

/// Bytes changed and the end cut off.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let changes = vec((any::<prop::sample::Index>(), any::<u8>()), 0..8);
    (prop::sample::select(samples()), changes, any::<prop::sample::Index>(), any::<bool>()).prop_map(
        |(mut frame, changes, cut, whole)| {
            for (at, byte) in changes {
                let at = at.index(frame.len());
                frame[at] = byte;
            }
            frame.truncate(if whole { frame.len() } else { cut.index(frame.len()) });
            frame
        },
    )
}

proptest! {
    #[test]
    fn any_bytes_are_survived(frames in vec(prop_oneof![vec(any::<u8>(), 0..200), damaged()], 1..40)) {
        let (shared, woken) = shared();
        let (socket, _qemu) = UnixStream::pair().expect("a pair");
        let mut segment = Segment::new(shared.clone(), socket, woken);
        for frame in frames {
            segment.frame(&frame, &mut shared.lock());
        }
    }

    /// Segments to a bridge reach smoltcp's own code; its checks of sums are passed by computing them.
    #[test]
    fn any_segments_to_a_bridge_are_survived(
        segments in vec((any::<u8>(), any::<[u8; 4]>(), -2_i64..3, vec(any::<u8>(), 0..60), 5_u8..16), 1..20),
    ) {
        let (shared, _woken) = shared();
        let (source, dest) = (Ipv4Addr::new(192, 0, 2, 5), SocketAddr::from(([198, 18, 0, 10], 22)));
        let bridge = bridge::open(&shared, source.into(), dest).expect("a bridge");
        let _visitor = TcpStream::connect(bridge.local).expect("it listens");
        let mut work = shared.lock().bridges.pop().expect("its other side");
        let (mut out, guest) = (Vec::new(), shared.lock().guest);
        while out.is_empty() || !work.has_visitor() {
            work.pump(&shared, &guest, &mut out);
        }
        let syn = out.split_off(out.len() - 62);
        let (port, seq) = (u16::from_be_bytes([syn[34], syn[35]]), u32::from_be_bytes([syn[38], syn[39], syn[40], syn[41]]));
        let to = SocketAddr::from((source, port));
        for (flags, number, near, tail, header) in segments {
            // A datagram has the same header around it.
            let mut frame = build::udp((GUEST, our_mac(0)), dest, to, &[&[0; 12][..], &tail].concat());
            frame[38..42].copy_from_slice(&number);
            frame[42..46].copy_from_slice(&seq.wrapping_add(near as u32).to_be_bytes());
            // As many options as the tail has room for.
            frame[46] = header.min(5 + (tail.len() / 4) as u8) << 4;
            frame[47] = flags;
            frame[23] = 6;
            let mut ip = Ipv4Packet::new_unchecked(&mut frame[14..]);
            ip.fill_checksum();
            TcpPacket::new_unchecked(ip.payload_mut()).fill_checksum(&dest.ip().into(), &to.ip().into());
            work.hear(&frame);
            prop_assert!(work.pump(&shared, &guest, &mut out));
        }
    }

    /// As many connections as it likes, and whatever it says by them.
    #[test]
    fn any_segments_to_a_server_are_survived(
        segments in vec((any::<u8>(), 1..4_u16, any::<[u8; 8]>(), vec(any::<u8>(), 0..60), 5_u8..16), 1..60),
    ) {
        let (shared, woken) = shared();
        let (socket, _qemu) = UnixStream::pair().expect("a pair");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = SocketAddr::from(([192, 0, 2, 5], 443));
        let server = bridge::serve(&shared, at, listener.local_addr().expect("an address")).expect("a server");
        let mut segment = Segment::new(shared.clone(), socket, woken);
        segment.take_up(&mut shared.lock());
        for (flags, port, numbers, tail, header) in segments {
            let from = SocketAddr::from(([198, 18, 0, 10], 40_000 + port));
            let mut frame = build::udp((GUEST, our_mac(0)), from, at, &[&[0; 12][..], &tail].concat());
            frame[38..46].copy_from_slice(&numbers);
            frame[46] = header.min(5 + (tail.len() / 4) as u8) << 4;
            // Half of them begin something.
            frame[47] = if flags & 1 == 0 { 2 } else { flags };
            frame[23] = 6;
            let mut ip = Ipv4Packet::new_unchecked(&mut frame[14..]);
            ip.fill_checksum();
            TcpPacket::new_unchecked(ip.payload_mut()).fill_checksum(&from.ip().into(), &at.ip().into());
            segment.frame(&frame, &mut shared.lock());
            let guest = shared.lock().guest;
            segment.pump(&guest);
        }
        drop(server);
    }
}

#[test]
fn whoever_probes_an_address_is_not_answered() {
    let network = Network::default();
    let (mut services, mut guest) = (Services::new(network.clone()), Guest::default());
    let mut answers = |sender: [u8; 4], target: Ipv4Addr| {
        let frame = build::arp_frame(true, GUEST, [0; 6], sender.into(), target);
        let heard = frames::parse(&frame).expect("Ethernet");
        services.answer(&heard, &mut guest).is_some()
    };
    assert!(!answers([0; 4], network.guest4));
    assert!(!answers([0; 4], network.router4));
    assert!(!answers([198, 18, 0, 10], network.guest4));
    assert!(!answers([169, 254, 1, 1], Ipv4Addr::new(169, 254, 1, 1)));
    assert!(answers([198, 18, 0, 10], network.router4));
    assert!(answers([198, 18, 0, 10], Ipv4Addr::new(198, 18, 0, 77)));
    let tentative = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
    let mut answers = |source: Ipv6Addr, target: Ipv6Addr| {
        let frame = build::solicit((GUEST, our_mac(0)), source, target);
        let heard = frames::parse(&frame).expect("Ethernet");
        services.learn(&heard, &mut guest);
        services.answer(&heard, &mut guest).is_some()
    };
    assert!(!answers(Ipv6Addr::UNSPECIFIED, tentative));
    assert!(!answers(tentative, tentative));
    assert!(answers(tentative, ROUTER6));
    assert_eq!(guest.ipv6_link_local, Some(tentative));
    // Its other card's address: it says something as that here, and has not claimed it.
    let strange = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 3);
    for (source, target, known) in [(strange, ROUTER6, tentative), (Ipv6Addr::UNSPECIFIED, strange, strange)] {
        let frame = build::solicit((GUEST, our_mac(0)), source, target);
        services.learn(&frames::parse(&frame).expect("Ethernet"), &mut guest);
        assert_eq!(guest.ipv6_link_local, Some(known));
    }
}

#[test]
fn an_icmp_error_is_read() {
    let frame = samples().pop().expect("the last");
    let Some(Said::Error { kind: 3, code: 3, about: Some(key), .. }) = frames::parse(&frame).map(|heard| heard.said)
    else {
        panic!("not read as an error: {:?}", frames::parse(&frame));
    };
    assert_eq!((key.our_port, key.their_port), (20_000, 22));
}

#[test]
fn silence_is_doubted_when_the_purse_is_empty() {
    let (mut limits, now) = (limits::Limits::default(), Instant::now());
    let source: IpAddr = [192, 0, 2, 5].into();
    limits.begin(now);
    (0..4).for_each(|_| limits.error(source, now));
    assert!(!limits.dry(source));
    limits.error(source, now);
    assert!(limits.dry(source));
    assert!(!limits.dry([192, 0, 2, 6].into()));
    let rest = limits.rest(&BTreeSet::from([source]), now).expect("it is not full");
    assert!(Duration::from_secs(5) < rest && rest < Duration::from_secs(7), "{rest:?}");
    limits.begin(now + rest);
    assert!(!limits.dry(source));
}

#[test]
fn the_thread_ends_with_the_lan() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("wire");
    let listener = std::os::unix::net::UnixListener::bind(&path).expect("bound");
    let lan = Lan::connect(&path, Network::default()).expect("connected");
    let (mut qemu, _) = listener.accept().expect("accepted");
    let bridge = lan.bridge([192, 0, 2, 5].into(), SocketAddr::from(([198, 18, 0, 10], 22)));
    assert_eq!(bridge.map_err(|error| error.kind()).unwrap_err(), io::ErrorKind::NotConnected);
    drop(lan);
    let mut said = Vec::new();
    qemu.read_to_end(&mut said).expect("it ends");
    // A frame larger than any ends it too.
    let lan = Lan::connect(&path, Network::default()).expect("connected");
    let (mut qemu, _) = listener.accept().expect("accepted");
    qemu.write_all(&[0xff; 8]).expect("written");
    assert!(!lan.wait(&|| false, &|_| false));
}

#[test]
fn a_socket_that_comes_late_is_waited_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("wire");
    let late = path.clone();
    let qemu = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        std::os::unix::net::UnixListener::bind(late).expect("bound").accept().expect("accepted")
    });
    drop(Lan::connect(&path, Network::default()).expect("connected"));
    qemu.join().expect("it was connected to");
}

/// A DHCP request of the guest, and what comes back: to whom, of which kind, and with which address.
fn dhcp(client: [u8; 4], flags: u8, options: &[u8]) -> Option<(IpAddr, u8, Ipv4Addr)> {
    let mut request = vec![0; 240];
    request[..3].copy_from_slice(&[1, 1, 6]);
    request[10] = flags;
    request[12..16].copy_from_slice(&client);
    request[236..].copy_from_slice(&[99, 130, 83, 99]);
    request.extend(options);
    let (from, to) = ((client, 68).into(), ([255; 4], 67).into());
    let frame = build::udp((GUEST, our_mac(0)), from, to, &request);
    let heard = frames::parse(&frame).expect("Ethernet");
    let answer = Services::new(Network::default()).answer(&heard, &mut Guest::default())?;
    let Some(Said::Udp { key, payload }) = frames::parse(&answer).map(|heard| heard.said) else {
        panic!("no datagram: {answer:?}");
    };
    let address = Ipv4Addr::new(payload[16], payload[17], payload[18], payload[19]);
    assert_eq!((&payload[..1], &payload[240..242]), (&[2][..], &[53, 1][..]));
    Some((key.ours, payload[242], address))
}

#[test]
fn leases_are_given_and_refused() {
    let Network { guest4, router4, .. } = Network::default();
    let (own, router, none) = (guest4.octets(), router4.octets(), Ipv4Addr::UNSPECIFIED);
    let everyone = IpAddr::from([255; 4]);
    let wants = |address: [u8; 4]| [&[53, 1, 3, 50, 4][..], &address, &[255]].concat();
    let from = |server: [u8; 4]| [&[53, 1, 3, 50, 4][..], &own, &[54, 4], &server, &[255]].concat();
    // Discovery, with and without the wish for a broadcast; a request; one to another server.
    assert_eq!(dhcp([0; 4], 0, &[53, 1, 1]), Some((guest4.into(), 2, guest4)));
    assert_eq!(dhcp([0; 4], 0x80, &[53, 1, 1]), Some((everyone, 2, guest4)));
    assert_eq!(dhcp([0; 4], 0, &from(router)), Some((guest4.into(), 5, guest4)));
    assert_eq!(dhcp([0; 4], 0, &from([198, 18, 0, 2])), None);
    // The lease of another network; a renewal of ours, straight to us; information only; a release.
    assert_eq!(dhcp([0; 4], 0, &wants([10, 0, 2, 15])), Some((everyone, 6, none)));
    assert_eq!(dhcp(own, 0, &[53, 1, 3]), Some((guest4.into(), 5, guest4)));
    assert_eq!(dhcp(own, 0, &[53, 1, 8]), Some((guest4.into(), 5, none)));
    assert_eq!(dhcp(own, 0, &[53, 1, 7]), None);
    assert_eq!(dhcp(own, 0, &[53, 1, 3, 61, 200, 1]), None);
}
