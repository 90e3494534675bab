//! The prober: the whole LAN of the guest.
