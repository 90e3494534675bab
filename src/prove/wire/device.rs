//! The wire as the TCP stack of a bridge sees it.
use std::collections::VecDeque;
use std::net::IpAddr;

use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};

use super::build;
use super::frames::{self, Mac, Said, our_mac};

/// It holds segments, and no neighbour but the guest.
pub(super) struct Wire {
    pub(super) heard: VecDeque<Vec<u8>>,
    pub(super) sent: Vec<Vec<u8>>,
    pub(super) guest: Mac,
}

impl Wire {
    /// Takes a frame for the stack, which only looks at those to its own hardware address.
    pub(super) fn hear(&mut self, frame: &[u8]) {
        let mut frame = frame.to_vec();
        frame[..6].copy_from_slice(&our_mac(0));
        self.heard.push_back(frame);
    }

    /// Sends a frame of the stack. Where the guest is we know, and need not ask: its firewall may not even answer.
    fn send(&mut self, frame: Vec<u8>) {
        let macs = (self.guest, our_mac(0));
        match frames::parse(&frame).map(|heard| (heard.said, heard.from)) {
            Some((Said::Arp { request: true, sender, target }, _)) => {
                self.heard.push_back(build::arp_frame(false, macs.0, macs.1, target, sender));
            }
            Some((Said::Solicit { target }, Some(IpAddr::V6(from)))) => {
                self.heard.push_back(build::advert(macs, target, from));
            }
            Some((Said::Tcp { .. }, _)) => self.sent.push(frame),
            _ => {}
        }
    }
}

impl Device for Wire {
    type RxToken<'a> = Heard;
    type TxToken<'a> = Send<'a>;

    fn receive(&mut self, _: smoltcp::time::Instant) -> Option<(Heard, Send<'_>)> {
        self.heard.pop_front().map(|frame| (Heard(frame), Send(self)))
    }

    fn transmit(&mut self, _: smoltcp::time::Instant) -> Option<Send<'_>> {
        Some(Send(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

pub(super) struct Heard(Vec<u8>);

impl RxToken for Heard {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

pub(super) struct Send<'a>(&'a mut Wire);

impl TxToken for Send<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, size: usize, f: F) -> R {
        let mut frame = vec![0; size];
        let result = f(&mut frame);
        self.0.send(frame);
        result
    }
}
