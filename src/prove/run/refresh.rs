//! Lists on the web, which the machine fetches from a server of ours.

use super::machine::{Machine, SMALL};
use super::round::{Kept, of};
use crate::plan::proof::{Check, Proof, Refresh};
use crate::prove::archive::{self, Archive};
use crate::prove::image::Mirrors;
use crate::prove::judge::refresh::{self, Fetched, HOSTILE};
use crate::prove::qemu::{Budget, mac};
use crate::prove::verdict::Judgement;
use crate::prove::web::{Page, Web};
use crate::prove::wire::{ANY_NAME, Asked, Bridge, Lan};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What one fetch may cost: a million lines are judged and loaded by an emulated processor.
const FETCH: Budget = Budget::cpu_seconds(900);
/// How long the machine is knocked on before and after.
const AROUND: Duration = Duration::from_secs(3);

/// Pages, by their addresses.
pub type Pages = BTreeMap<String, Arc<[u8]>>;

/// What a machine finds beyond its network.
pub(super) struct Internet {
    /// Where its lists are.
    pub(super) web: Option<Web>,
    _archive: Option<Archive>,
    _bridges: Vec<Bridge>,
}

impl Internet {
    /// Leads a machine to these pages, and to packages; none where there is neither.
    pub(super) fn new(pages: &Pages, mirrors: Option<&Mirrors>, lan: &Lan) -> Result<Option<Self>> {
        if pages.is_empty() && mirrors.is_none() {
            return Ok(None);
        }
        let web = if pages.is_empty() { None } else { Some(Web::new(pages)?) };
        let archive = mirrors.map(Archive::new).transpose()?;
        let mut places: Vec<_> =
            web.iter().flat_map(|web| web.places().into_iter().map(|at| (at, web.local()))).collect();
        places.extend(archive.as_ref().map(|archive| (archive::PLACE, archive.local())));
        let mut names = web.as_ref().map(Web::names).unwrap_or_default();
        if archive.is_some() {
            names.insert(ANY_NAME.to_owned(), archive::PLACE.ip());
        }
        let bridges = places.into_iter().map(|(at, local)| lan.serve(at, local)).collect::<std::io::Result<_>>();
        let bridges = bridges.context("could not lead the machine to its lists and packages")?;
        lan.names(names);
        Ok(Some(Internet { web, _archive: archive, _bridges: bridges }))
    }
}

impl Machine<'_> {
    /// Has the machine trust our server until it is started again: programs of its units are told so.
    pub(super) fn trust(&mut self) -> Result<()> {
        let Some(web) = self.internet.as_ref().and_then(|internet| internet.web.as_ref()) else { return Ok(()) };
        let place = refresh::PLACE;
        let script = format!(
            "mkdir -p -m 755 {place} && cat >{place}/web.pem <<'PEM'\n{}\nPEM\n\
             if [ -d /run/systemd/system ]; then systemctl set-environment SSL_CERT_FILE={place}/web.pem; fi\n",
            web.authority().trim_end()
        );
        self.run(&script, SMALL).map(drop)
    }

    pub(super) fn refreshes(
        &mut self,
        now: &[(usize, &Proof)],
        pages: &Pages,
        judged: &mut Kept,
        again: bool,
    ) -> Result<()> {
        for (at, refresh) in of(now, |c| if let Check::Refresh(refresh) = c { Some(refresh) } else { None }) {
            self.say("having it fetch its lists");
            let began = Instant::now();
            let mut judgement = self.refresh(refresh, pages)?;
            judgement.took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.keep(at, judgement, judged, again);
        }
        Ok(())
    }

    fn fetch(&mut self, url: &str, page: Page) -> Result<Fetched> {
        if let Some(web) = self.internet.as_ref().and_then(|internet| internet.web.as_ref()) {
            web.put(url, page);
        }
        Ok(Fetched::read(&self.run(&refresh::script(true), FETCH)?))
    }

    fn refresh(&mut self, refresh: &Refresh, pages: &Pages) -> Result<Judgement> {
        let Some((url, list)) = refresh.urls.first().and_then(|url| pages.get_key_value(url)) else {
            return Ok(Judgement::unknown("nobody serves the lists here"));
        };
        let (url, list) = (url.clone(), list.clone());
        let before = Fetched::read(&self.run(&refresh::script(false), SMALL)?);
        let everybody = refresh.kept_out.iter().chain(&refresh.let_in).copied();
        let knocks =
            everybody.chain(refresh.added.iter().map(|net| net.sample(0))).map(|source| (source, refresh.port));
        self.lans[0].watch(Asked { mac: mac(0), knocks: knocks.collect(), ..Asked::default() });
        std::thread::sleep(AROUND);
        let asked = Instant::now();
        let longer = self.fetch(&url, Page::Whole(refresh::longer(&list, &refresh.added).into()))?;
        let had = Instant::now();
        std::thread::sleep(AROUND);
        let bad = [
            ("missing", Page::Missing),
            ("empty", Page::Whole(Vec::new().into())),
            ("a page that says it has moved", Page::Whole(b"<html>moved</html>\n".as_slice().into())),
            ("cut short", Page::CutShort(list.clone())),
            ("huge", Page::Huge),
            ("hostile", Page::Whole(HOSTILE.into())),
            ("without TLS", Page::Elsewhere),
        ];
        let bad =
            bad.into_iter().map(|(what, page)| Ok((what, self.fetch(&url, page)?))).collect::<Result<Vec<_>>>()?;
        let asked_again = Instant::now();
        let again = self.fetch(&url, Page::Whole(list))?;
        let moments = [asked, had, asked_again, Instant::now()];
        std::thread::sleep(AROUND);
        let Some(watched) = self.lans[0].watched() else {
            return Ok(Judgement::unknown("the machine was not watched"));
        };
        let (spans, rounds) = (&watched.spans[..], watched.rounds);
        Ok(refresh::judge(refresh, &refresh::Seen { before, longer, bad, again, moments, spans, rounds }))
    }
}
