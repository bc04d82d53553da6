//! Reads the objects of a run again, in the order of its bundle.

use crate::error::Result;
use crate::id::RunKey;

use super::arrange::At;
use super::lookup::Source;
use super::resolve::RunPlan;

/// Reads objects of a run's plan. Remembers the last file of several objects. Where those of two such
/// files alternate, each is decoded again and again.
#[derive(Debug, Default)]
pub(super) struct Reader {
    last: Option<Loaded>,
}

/// The texts of a file's objects.
#[derive(Debug)]
struct Loaded {
    run: RunKey,
    name: Vec<u8>,
    texts: Vec<Vec<u8>>,
}

impl Reader {
    /// Passes the text of one object on. Cost: one read; memory: a file of several objects, or one object.
    ///
    /// # Errors
    /// Those of the source and of `write`.
    pub(super) fn read<S: Source>(
        &mut self,
        source: &S,
        plan: &RunPlan,
        (run, at): (RunKey, At),
        write: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let (name, run, object, alone) = match at {
            At::Resolved(at) => match plan.resolved.get(at) {
                Some(found) => (&found.name, found.run, found.object, found.name == found.id),
                None => return Ok(()),
            },
            At::Own(at, object) => match plan.own.get(at) {
                Some(file) => (&file.name, run, object, file.parts.len() == 1),
                None => return Ok(()),
            },
        };
        if alone && object == 0 {
            let mut first = |number, text: &[u8]| if number == 0 { write(text) } else { Ok(()) };
            return source.texts(name, run, &mut first);
        }
        let number = usize::try_from(object).unwrap_or(usize::MAX);
        if let Some(loaded) = self.last.as_ref().filter(|loaded| loaded.run == run && loaded.name == *name) {
            return loaded.texts.get(number).map_or(Ok(()), |text| write(text));
        }
        let mut texts = Vec::new();
        source.texts(name, run, &mut |_, text| {
            texts.push(text.to_vec());
            Ok(())
        })?;
        let loaded = self.last.insert(Loaded { run, name: name.clone(), texts });
        loaded.texts.get(number).map_or(Ok(()), |text| write(text))
    }
}
