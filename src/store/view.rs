//! An immutable committed state, as users see it.

use std::sync::{Arc, OnceLock};

use super::inner::Inner;
use super::lookup::Reader;
use super::many::When;
use super::open::{UseIndex, is_index_damage, load};
use super::snapshot::Snapshot;
use super::state::{Keys, State};
use crate::error::{Error, Result};
use crate::format::put::PutKind;
use crate::id::{CommitId, Instant, Key, Location, Name, RunKey};
use crate::index::{Entry, RecordKeys};

/// An immutable committed state of a store. `Send + Sync`, cheap to clone, never waits for a writer.
///
/// The index is only a cache of the log: where a page of it turns out to be damaged, the view reads the
/// whole log once and answers from that.
#[derive(Clone, Debug)]
pub struct View {
    inner: Arc<Inner>,
    state: Arc<State>,
    replayed: Arc<OnceLock<Arc<State>>>,
}

impl View {
    pub(super) fn new(inner: Arc<Inner>, state: Arc<State>) -> View {
        View { inner, state, replayed: Arc::default() }
    }

    /// The state that answers.
    #[inline]
    pub(super) fn state(&self) -> &State {
        self.replayed.get().unwrap_or(&self.state)
    }

    /// What it belongs to, and its state.
    pub(super) fn parts(&self) -> (&Arc<Inner>, &State) {
        (&self.inner, self.state())
    }

    /// Asks the state; if its index is damaged, the state that the log alone gives.
    #[inline]
    pub(super) fn ask<'v, T>(&'v self, question: impl Fn(&'v State) -> Result<T>) -> Result<T> {
        match question(self.state()) {
            Err(error) if is_index_damage(&error) => question(self.replay(&error)?),
            answer => answer,
        }
    }

    #[cold]
    fn replay(&self, cause: &Error) -> Result<&Arc<State>> {
        if let Some(state) = self.replayed.get() {
            return Ok(state);
        }
        tracing::warn!("{cause}; reading the whole log instead: run `store check`");
        let loaded = load(&self.inner.read, UseIndex::Never, false)?;
        Ok(self.replayed.get_or_init(|| Arc::new(loaded.working.state)))
    }

    /// The commit that this state is the result of.
    pub fn commit(&self) -> CommitId {
        self.state.position.link.id
    }

    /// Live snapshots, aliases not counted. O(1).
    pub fn len(&self) -> u64 {
        self.state.overlay.totals().snapshots
    }

    /// At how many places of the log acknowledged records are damaged beyond naming. Mostly 0, as the index, or what is left of a
    /// record, tells whose it was: then its id answers `Damaged`. While it is not 0, any answer may be older than what was
    /// acknowledged last, or missing; `store check` names the places.
    pub fn gaps(&self) -> u64 {
        self.state.gaps
    }

    /// Tells whether there is no live snapshot.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The snapshot of `id` in exactly that run. Follows an alias to the snapshot of the file it names
    /// (then `name()` differs from `id`). O(1) expected: one index bucket, one record; the same holds for
    /// [`latest`](View::latest), [`at_or_before`](View::at_or_before) and [`closest_after`](View::closest_after).
    ///
    /// # Errors
    /// `Damaged` with its place if the record that answers is damaged; never an older one instead. Failures
    /// of reading.
    pub fn get(&self, id: impl AsRef<[u8]>, run: RunKey) -> Result<Option<Snapshot<'_>>> {
        self.find(id, When::In(run))
    }

    /// The newest snapshot of `id`.
    ///
    /// # Errors
    /// As for [`get`](View::get).
    pub fn latest(&self, id: impl AsRef<[u8]>) -> Result<Option<Snapshot<'_>>> {
        self.find(id, When::Newest)
    }

    /// The newest snapshot of `id` whose run's instant is at or before `at`.
    ///
    /// # Errors
    /// As for [`get`](View::get).
    pub fn at_or_before(&self, id: impl AsRef<[u8]>, at: Instant) -> Result<Option<Snapshot<'_>>> {
        self.find(id, When::AtOrBefore(at))
    }

    /// The run in which the newest snapshot of `id` at or before `at` was lost, as a repair declared it: the reason why
    /// [`latest`](View::latest) and [`at_or_before`](View::at_or_before) have no answer then. `at_or_before` an instant
    /// beyond all runs is `latest`.
    ///
    /// # Errors
    /// As for [`get`](View::get).
    pub fn lost(&self, id: impl AsRef<[u8]>, at: Instant) -> Result<Option<RunKey>> {
        self.ask(|state| state.newest_lost(&Name::of(id.as_ref()), RunKey::last_of(at)))
    }

    /// The oldest snapshot of `id` whose run's instant is strictly later than `after`.
    ///
    /// # Errors
    /// As for [`get`](View::get).
    pub fn closest_after(&self, id: impl AsRef<[u8]>, after: Instant) -> Result<Option<Snapshot<'_>>> {
        self.find(id, When::After(after))
    }

    /// All snapshots of `id`, ascending by run. A damaged one is an error in its place, not the end.
    ///
    /// # Errors
    /// Failures of reading the index.
    pub fn history(&self, id: impl AsRef<[u8]>) -> Result<Vec<Result<Snapshot<'_>>>> {
        let name = Name::of(id.as_ref());
        let found = self.ask(|state| state.all(&name.key))?;
        let answers = found.iter().map(|found| self.ask(|state| state.exactly(&name, found.run)));
        Ok(answers.filter_map(Result::transpose).collect())
    }

    /// The record stored under exactly this name and run, an alias as itself.
    ///
    /// # Errors
    /// As for [`get`](View::get).
    pub fn record(&self, name: impl AsRef<[u8]>, run: RunKey) -> Result<Option<Snapshot<'_>>> {
        self.ask(|state| state.itself(&Name::of(name.as_ref()), run))
    }

    /// The snapshots of a run, in the order of the index. A damaged one is an error in its place. Memory:
    /// 40 bytes a snapshot of the run.
    ///
    /// # Errors
    /// Failures of reading the index.
    pub fn iter_run(&self, run: RunKey) -> Result<impl Iterator<Item = Result<Snapshot<'_>>>> {
        // That an entry is an alias may stand on a damaged record, so it is read to be sure.
        let is_alias =
            |read: &Result<Snapshot<'_>>| read.as_ref().is_ok_and(|it| it.kind() == PutKind::Alias);
        Ok(self.read_entries(run, self.live_entries(run)?).filter(move |read| !is_alias(read)))
    }

    /// Like [`iter_run`](View::iter_run), in the order of the log, and without the records at some places: for those who read
    /// whole runs from a disk.
    ///
    /// # Errors
    /// As for `iter_run`.
    pub(crate) fn iter_run_as_logged(
        &self,
        run: RunKey,
        skips: impl Fn(Location) -> bool,
    ) -> Result<impl Iterator<Item = Result<Snapshot<'_>>>> {
        let is_alias =
            |read: &Result<Snapshot<'_>>| read.as_ref().is_ok_and(|it| it.kind() == PutKind::Alias);
        let mut entries = self.live_entries(run)?;
        entries.retain(|entry| !skips(entry.at));
        entries.sort_unstable_by_key(|entry| entry.at);
        Ok(self.read_entries(run, entries).filter(move |read| !is_alias(read)))
    }

    /// Like [`iter_run`](View::iter_run), with aliases.
    ///
    /// # Errors
    /// As for `iter_run`.
    pub fn records_of_run(&self, run: RunKey) -> Result<impl Iterator<Item = Result<Snapshot<'_>>>> {
        Ok(self.read_entries(run, self.live_entries(run)?))
    }

    fn live_entries(&self, run: RunKey) -> Result<Vec<Entry>> {
        let mut entries = self.ask(|state| state.entries_of(run))?;
        entries.retain(|entry| !entry.flags.tombstone);
        Ok(entries)
    }

    fn read_entries(&self, run: RunKey, entries: Vec<Entry>) -> impl Iterator<Item = Result<Snapshot<'_>>> {
        entries.into_iter().filter_map(move |entry| self.read_entry(run, &entry).transpose())
    }

    fn read_entry(&self, run: RunKey, entry: &Entry) -> Result<Option<Snapshot<'_>>> {
        let reader = Reader::new(&self.state.segments);
        if let Some(key) = reader.key_at(entry.at)? {
            return self.state.read(entry.at, &Key::new(key.object, run), &reader);
        }
        let segment = self.state.segments.require(entry.at.segment)?;
        let head = match segment.head(entry.at.offset)? {
            Ok(head) => head,
            Err(damage) => return Err(Error::damaged(segment.place(entry.at.offset), damage)),
        };
        let key = Key::new(head.key().object, run);
        self.state.record(entry.at, &key)
    }

    /// Up to `limit` keys of live snapshots after `marker`, run by run, in the order of the index.
    ///
    /// # Errors
    /// `BadInput` for a marker that is not in this view; failures of reading.
    pub fn list(&self, limit: usize, marker: Option<&Key>) -> Result<Vec<Key>> {
        let unknown = || Error::BadInput { what: "marker".to_owned(), reason: "no such snapshot".to_owned() };
        let after = match marker {
            None => None,
            Some(key) => Some(self.ask(|state| state.find(key))?.ok_or_else(unknown)?),
        };
        let mut keys = Vec::new();
        for row in self.ask(State::run_rows)? {
            if keys.len() >= limit || after.as_ref().is_some_and(|after| row.run < after.run) {
                continue;
            }
            let mut entries = self.ask(|state| state.entries_of(row.run))?;
            if let Some(after) = after.as_ref().filter(|after| after.run == row.run) {
                let at = entries.iter().position(|entry| entry.at == after.at).ok_or_else(unknown)?;
                entries.drain(..=at);
            }
            for entry in entries.iter().filter(|entry| !entry.flags.tombstone && !entry.flags.alias) {
                if keys.len() >= limit {
                    break;
                }
                // Of a damaged head the key is not known; reading the run says so.
                keys.extend(Keys(&self.state.segments).key_at(entry.at)?);
            }
        }
        Ok(keys)
    }

    /// The same state, read by positioned reads instead of memory maps: an error of the disk is then an `Io` error and
    /// not a signal that ends the process. For those who read everything; lookups are slower.
    #[must_use]
    pub fn without_maps(&self) -> View {
        let mut state = State::clone(&self.state);
        state.segments = Arc::new(state.segments.unmapped());
        View::new(self.inner.clone(), Arc::new(state))
    }

    /// Reads what was committed since, by any process, and returns the newer state.
    ///
    /// # Errors
    /// As opening the store.
    pub fn refresh(&self) -> Result<View> {
        let loaded = load(&self.inner.read, UseIndex::Newest, false)?;
        Ok(View::new(self.inner.clone(), Arc::new(loaded.working.state)))
    }
}
