//! What each cloud takes as user-data, and how a bundle is fitted to it.

use super::Payload;
use super::cloud_init::{CloudInit, Form};
use crate::archive::tar_gz::gzip;
use crate::report::{Fault, FromText, did_you_mean, shown};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;

/// How what is packed by gzip is given to a cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packed {
    /// As bytes, and bytes are counted.
    Bytes,
    /// As bytes; the cloud counts them in base64, which is a third more, and so it does with what is not packed.
    CountedInBase64,
    /// As base64, and its characters are counted.
    Base64,
    /// Not at all: it must be text.
    Refused,
}

/// What is known of a cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cloud {
    /// Its name on the command line.
    pub name: &'static str,
    /// What people call it.
    pub title: &'static str,
    /// The most that it takes, in what it counts; none where there is no limit.
    pub limit: Option<usize>,
    /// Whether and how it takes what is packed.
    pub packed: Packed,
    /// Where its metadata is, beside what the image needs for itself.
    pub metadata: &'static str,
    /// Who may log in on its images where nobody is asked for; none is as the image says.
    pub user: &'static str,
    /// Where this is written, with what is not to be forgotten.
    pub source: &'static str,
    /// Whether somebody has read it there. What nobody has is on the small side.
    pub confirmed: bool,
}

const fn cloud(name: &'static str, title: &'static str, limit: Option<usize>, packed: Packed) -> Cloud {
    Cloud { name, title, limit, packed, metadata: "169.254.169.254:80", user: "", source: "", confirmed: false }
}

/// All of them.
pub const CLOUDS: &[Cloud] = &[
    Cloud {
        metadata: "169.254.169.254:80, [fd00:ec2::254]:80",
        source: "AWS, Amazon EC2 user guide: add user data (16 KB, raw, before base64)",
        confirmed: true,
        ..cloud("aws", "Amazon EC2", Some(16_384), Packed::Bytes)
    },
    Cloud {
        metadata: "169.254.169.254:80, 168.63.129.16:80, 168.63.129.16:32526",
        source: "Microsoft, VirtualMachineOSProfile.CustomData (65,535 bytes, decoded)",
        confirmed: true,
        ..cloud("azure", "Microsoft Azure", Some(65_535), Packed::Bytes)
    },
    Cloud {
        source: "Google, Compute Engine metadata: 262,144 bytes a value; with `user-data-encoding: base64` beside what is packed",
        confirmed: true,
        ..cloud("gcp", "Google Cloud", Some(262_144), Packed::Base64)
    },
    Cloud {
        source: "OpenStack, Nova: user data (65,535 bytes, after base64)",
        confirmed: true,
        ..cloud("openstack", "OpenStack", Some(65_535), Packed::CountedInBase64)
    },
    Cloud {
        source: "DigitalOcean, API: user_data (64 KiB, plain text)",
        confirmed: true,
        ..cloud("digitalocean", "DigitalOcean", Some(65_536), Packed::Refused)
    },
    Cloud {
        user: "root",
        source: "Hetzner, API: user_data (32 KiB); base64 is decoded by the datasource",
        confirmed: true,
        ..cloud("hetzner", "Hetzner Cloud", Some(32_768), Packed::Base64)
    },
    Cloud {
        metadata: "169.254.169.254:80; the boot volume is at 169.254.0.2:3260",
        user: "opc",
        source: "Oracle: 32,000 bytes of all metadata with its keys, from memory",
        ..cloud("oracle", "Oracle Cloud", Some(24_000), Packed::Base64)
    },
    Cloud {
        user: "root",
        source: "Vultr, API: user_data; no limit is published",
        ..cloud("vultr", "Vultr", Some(16_384), Packed::Refused)
    },
    Cloud {
        user: "root",
        source: "Akamai, metadata service: 16 KiB decoded, from memory",
        ..cloud("linode", "Akamai (Linode)", Some(16_384), Packed::Bytes)
    },
    Cloud {
        metadata: "none: guestinfo",
        source: "VMware, guestinfo.userdata with its encoding `gzip+base64`; 64 KiB a variable, from memory",
        ..cloud("vsphere", "VMware vSphere", Some(65_536), Packed::Base64)
    },
    Cloud {
        metadata: "none: a seed volume",
        source: "cloud-init, NoCloud: the volume is as large as it must be",
        confirmed: true,
        ..cloud("none", "no cloud: seeds, Proxmox, LXD", None, Packed::Bytes)
    },
];

impl FromText for &'static Cloud {
    const WHAT: &'static str = "a cloud";
    fn from_text(text: &str) -> Result<Self, Fault> {
        CLOUDS.iter().find(|cloud| cloud.name == text).ok_or_else(|| {
            let names: Vec<&str> = CLOUDS.iter().map(|cloud| cloud.name).collect();
            let help = match did_you_mean(text, names.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known: {}", names.join(" ")),
            };
            Fault::new(format!("there is no cloud `{}`", shown(text))).help(help)
        })
    }
}

/// What is given to a cloud, and what a person is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fitted {
    /// Its path in the bundle.
    pub path: String,
    /// What is given.
    pub data: Vec<u8>,
    /// What was done, and what it comes to.
    pub said: String,
}

fn number(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

impl Cloud {
    /// What it counts of so many bytes that are not packed.
    fn counts(&self, bytes: usize) -> usize {
        if self.packed == Packed::CountedInBase64 { bytes.div_ceil(3) * 4 } else { bytes }
    }

    fn takes(&self, counted: usize) -> bool {
        self.limit.is_none_or(|limit| counted <= limit)
    }

    /// What is counted of user-data that is packed by gzip, what is given then, and how that is said; none where it must be text.
    fn packed(&self, text: &str) -> Result<Option<(Vec<u8>, usize, String)>, String> {
        let packed = gzip(text.as_bytes()).map_err(|e| e.to_string())?;
        let (given, counted, how) = match self.packed {
            Packed::Refused => return Ok(None),
            Packed::Bytes => (packed.clone(), packed.len(), "packed by gzip"),
            Packed::CountedInBase64 => (packed.clone(), self.counts(packed.len()), "packed by gzip"),
            Packed::Base64 => {
                let text = STANDARD.encode(&packed).into_bytes();
                (text.clone(), text.len(), "packed by gzip, in base64,")
            }
        };
        Ok(Some((given, counted, format!("{how} to {}", number(counted)))))
    }

    /// What is given to it: the user-data as it is; else packed, where it takes that; else compact, where that is less; else the address at
    /// which the person says that it will lie (`include`). Or what does not fit, with the largest parts.
    ///
    /// # Errors
    /// What a person is told.
    pub fn fit(&self, payload: &Payload, include: Option<&str>) -> Result<Fitted, String> {
        let whole = CloudInit::user_data(payload, Form::Readable)?;
        let fitted =
            |data: Vec<u8>, said: String| Fitted { path: format!("cloud-init/user-data.{}", self.name), data, said };
        let limit = self.limit.map_or_else(|| "any number of".to_owned(), number);
        let plain = self.counts(whole.len());
        let doubt = if self.confirmed { "" } else { ", as far as anybody here knows" };
        let mut said =
            format!("{} takes {limit} bytes{doubt}; as it is the user-data comes to {}", self.title, number(plain));
        if self.takes(plain) {
            return Ok(fitted(whole.into_bytes(), said));
        }
        match self.packed(&whole)? {
            None => said.push_str(", packed it is not taken"),
            Some((given, counted, how)) => {
                said.push_str(&format!(", {how}"));
                if self.takes(counted) {
                    return Ok(fitted(given, said));
                }
            }
        }
        let compact = CloudInit::user_data(payload, Form::Compact)?;
        let counted = self.counts(compact.len());
        said.push_str(&format!(", compact, with its files packed, to {}", number(counted)));
        if self.takes(counted) {
            return Ok(fitted(compact.into_bytes(), said));
        }
        let costs = costs(payload)?;
        let shares: Vec<String> = costs.iter().map(|(who, bytes)| format!("{who} {}", number(*bytes))).collect();
        let costs = format!("what is packed is, of each hurdle alone: {}", shares.join(", "));
        if let Some(url) = include {
            let text = format!("#include\n{url}\n");
            let said = format!(
                "{said}: it reads {url} instead, where cloud-init/user-data must lie, for this machine alone; {costs}"
            );
            return Ok(fitted(text.into_bytes(), said));
        }
        Err(format!(
            "{said}\n{costs}\nleave out what is large, or say with `--include URL` where the machine finds cloud-init/user-data, or \
             attach seed.img"
        ))
    }
}

/// What the files of each hurdle come to, packed, the largest first.
fn costs(payload: &Payload) -> Result<Vec<(&'static str, usize)>, String> {
    let mut texts: BTreeMap<&str, String> = BTreeMap::new();
    for file in payload.files.values() {
        texts.entry(file.hurdle).or_default().push_str(&file.text);
    }
    let packed =
        |(who, text): (&'static str, String)| Ok((who, gzip(text.as_bytes()).map_err(|e| e.to_string())?.len()));
    let mut all = texts.into_iter().map(packed).collect::<Result<Vec<_>, String>>()?;
    all.sort_by_key(|(who, bytes)| (std::cmp::Reverse(*bytes), *who));
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cloud_has_a_name_of_its_own_and_a_source() {
        let mut names: Vec<&str> = CLOUDS.iter().map(|c| c.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CLOUDS.len());
        for cloud in CLOUDS {
            assert!(cloud.source.len() > 20 && !cloud.metadata.is_empty(), "{}", cloud.name);
            assert_eq!(<&Cloud>::from_text(cloud.name), Ok(cloud));
        }
        assert!(<&Cloud>::from_text("awz").is_err());
    }

    #[test]
    fn base64_is_counted_where_a_cloud_counts_it() {
        let of = |name: &str| CLOUDS.iter().find(|c| c.name == name).copied();
        let (aws, openstack) = (of("aws").unwrap(), of("openstack").unwrap());
        assert_eq!((aws.counts(16_384), aws.takes(16_384), aws.takes(16_385)), (16_384, true, false));
        // 49,149 is the most that becomes 65,532; one more is 65,536.
        assert!(openstack.takes(openstack.counts(49_149)) && !openstack.takes(openstack.counts(49_150)));
    }

    #[test]
    fn numbers_are_read_by_people() {
        assert_eq!([0, 999, 1000, 16_384, 1_234_567].map(number), ["0", "999", "1,000", "16,384", "1,234,567"]);
    }
}
