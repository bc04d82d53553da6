//! The MessagePack part of a PUT: what the file's bytes do not say (FORMAT.md, "Meta").
//!
//! # Encoding
//!
//! Each value is `MessagePack` in its shortest form; a decoder refuses longer forms, other types and bytes
//! after the end. Notation: `[a, b]` is an array, `x*` any number of `x`, `uint` an unsigned integer below
//! 2^32, `int` a signed integer of 64 bits, `bin` a byte string.
//!
//! ```text
//! snapshot = [mtime, top, custom, extension, objects]    without the empty lists at its end
//! run      = [mtime]
//! mtime    = nil                      not known
//!          | int                      whole seconds since 1970-01-01T00:00:00Z
//!          | [int, uint]              the same and nanoseconds, 1 to 999,999,999
//! top, custom, extension = [uint*]    where references of a class lie, see below
//! objects  = [object*]
//! object   = [id, uint, uint, top, custom, extension]    always six; the two are start and length in bytes
//! id       = nil                      the name that the file is stored under; in the first object only
//!          | bin                      the id, decoded
//! ```
//!
//! A *plain* file holds one object, and its id is the file's name. It has no `objects`: where its object
//! lies is in the PUT's fixed fields, and the three lists are that object's. Any other file has `objects`
//! with all objects of the file, in file order, none overlapping another, and the three lists before it
//! are empty; its first object lies where the fixed fields say.
//!
//! A reference is the offset in the file of the opening quote of its id. A list holds differences: the
//! first offset less the start of the object, then each offset less the one before. No difference is 0,
//! and every offset lies before the end of the object. `top` has the references under keys at the top of
//! the object that do not start with `x_`, `custom` those under keys that do, `extension` those at any
//! depth below the key `extensions`.
//!
//! A plain file with a modification time in whole seconds costs 7 bytes and 1 or 2 for each reference.

use std::convert::Infallible;
use std::ops::Range;

use rmp::encode::{self, ByteBuf, ValueWriteError};

use super::bundle::{Bundle, Object, RefClass};
use super::msgpack::Input;

/// The classes in the order of their lists.
const CLASSES: [RefClass; 3] = [RefClass::Top, RefClass::Custom, RefClass::Extension];
/// Elements of the outermost array, of which those after the first may be left out.
const META_LEN: u32 = 5;
/// Elements of an object's array.
const OBJECT_LEN: u32 = 6;
/// Nanoseconds of a second.
const NANOS: u32 = 1_000_000_000;

/// A modification time: seconds since 1970 and nanoseconds.
type Mtime = Option<(i64, u32)>;

/// The decoded meta part of a snapshot.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Meta {
    /// Modification time of the source file: seconds since 1970 and nanoseconds.
    pub mtime: Option<(i64, u32)>,
    /// The objects of the file; never empty.
    pub objects: Vec<MetaObject>,
}

/// One object of a stored file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MetaObject {
    /// Its id, where it differs from the file's name or is not the first object; else `None`.
    pub id: Option<Vec<u8>>,
    /// Where it lies in the file.
    pub range: Range<u32>,
    /// Offsets of the opening quotes of its reference ids, by class, ascending.
    pub refs: Vec<(RefClass, u32)>,
}

impl Meta {
    /// Builds the meta of a parsed file stored under `name`.
    pub fn of(bundle: &Bundle, name: &[u8], mtime: Option<(i64, u32)>) -> Meta {
        Meta::of_objects(bundle.objects.clone(), name, mtime)
    }

    /// Builds the meta of a file stored under `name` that holds these objects.
    pub fn of_objects(objects: Vec<Object>, name: &[u8], mtime: Option<(i64, u32)>) -> Meta {
        let objects = objects.into_iter().enumerate().map(|(index, object)| MetaObject {
            id: (index > 0 || object.id != name).then_some(object.id),
            range: object.range,
            refs: object.refs,
        });
        Meta { mtime, objects: objects.collect() }
    }

    /// Tells whether the file is plain: one object, whose id is the file's name.
    pub fn is_plain(&self) -> bool {
        matches!(self.objects.as_slice(), [object] if object.id.is_none())
    }

    /// Returns the first object with this id, in a file stored under `name`.
    pub fn object_named(&self, id: &[u8], name: &[u8]) -> Option<&MetaObject> {
        self.objects.iter().find(|object| object.id.as_deref().unwrap_or(name) == id)
    }

    /// Encodes compactly. References are taken to be ascending within a class, as [`Meta::of`] has them.
    pub fn encode(&self) -> Vec<u8> {
        written(|out| self.write(out))
    }

    fn write(&self, out: &mut ByteBuf) -> Written {
        if let ([object], true) = (self.objects.as_slice(), self.is_plain()) {
            let lists = CLASSES.iter().rposition(|class| object.count(*class) > 0);
            let lists = lists.map_or(0, |last| last.saturating_add(1));
            write_len(out, lists.saturating_add(1))?;
            write_mtime(out, self.mtime)?;
            return CLASSES.iter().take(lists).try_for_each(|class| object.write_refs(out, *class));
        }
        encode::write_array_len(out, META_LEN)?;
        write_mtime(out, self.mtime)?;
        for _ in CLASSES {
            encode::write_array_len(out, 0)?;
        }
        write_len(out, self.objects.len())?;
        self.objects.iter().try_for_each(|object| object.write(out))
    }

    /// Decodes; `first` is the range of the first object as the PUT's fixed fields give it.
    /// Cost: one pass; allocates for objects and references a small multiple of the input.
    ///
    /// # Errors
    /// A reason, when the bytes are not what [`encode`](Meta::encode) writes.
    pub fn decode(bytes: &[u8], first: Range<u32>) -> Result<Meta, String> {
        let mut input = Input::new(bytes);
        let len = input.array_len()?;
        if !(1..=META_LEN).contains(&len) {
            return Err(format!("an array of {len} where 1 to {META_LEN} belong"));
        }
        let mtime = read_mtime(&mut input)?;
        // Each reference has at least a byte: room for all of a plain file at once.
        let room = if len < META_LEN { input.len() } else { 0 };
        let mut object = MetaObject { id: None, range: first, refs: Vec::with_capacity(room) };
        let lists = usize::try_from(len).map_or(0, |len| len.saturating_sub(1)).min(CLASSES.len());
        let mut last_is_empty = false;
        for class in CLASSES.into_iter().take(lists) {
            last_is_empty = read_refs(&mut input, class, &mut object)? == 0;
        }
        let objects = if len == META_LEN {
            if !object.refs.is_empty() {
                return Err("references both of the file and of its objects".to_owned());
            }
            read_objects(&mut input, object.range)?
        } else if last_is_empty {
            return Err("an empty list at the end".to_owned());
        } else {
            vec![object]
        };
        input.end()?;
        Ok(Meta { mtime, objects })
    }
}

impl MetaObject {
    fn offsets(&self, class: RefClass) -> impl Iterator<Item = u32> {
        self.refs.iter().filter(move |(of, _)| *of == class).map(|(_, offset)| *offset)
    }

    fn count(&self, class: RefClass) -> usize {
        self.offsets(class).count()
    }

    fn write(&self, out: &mut ByteBuf) -> Written {
        encode::write_array_len(out, OBJECT_LEN)?;
        match &self.id {
            None => encode::write_nil(out).map_err(ValueWriteError::InvalidMarkerWrite)?,
            Some(id) => encode::write_bin(out, id)?,
        }
        encode::write_uint(out, self.range.start.into())?;
        encode::write_uint(out, self.range.end.saturating_sub(self.range.start).into())?;
        CLASSES.iter().try_for_each(|class| self.write_refs(out, *class))
    }

    fn write_refs(&self, out: &mut ByteBuf, class: RefClass) -> Written {
        write_len(out, self.count(class))?;
        let mut before = self.range.start;
        for offset in self.offsets(class) {
            encode::write_uint(out, offset.saturating_sub(before).into())?;
            before = offset;
        }
        Ok(())
    }
}

/// Encodes a run directory's meta: its modification time.
pub fn encode_run_meta(mtime: Option<(i64, u32)>) -> Vec<u8> {
    written(|out| {
        write_len(out, 1)?;
        write_mtime(out, mtime)
    })
}

/// Decodes a run directory's meta. None at all is what a repair gives a run whose record was lost.
///
/// # Errors
/// A reason, when the bytes are neither that nor what [`encode_run_meta`] writes.
pub fn decode_run_meta(bytes: &[u8]) -> Result<Option<(i64, u32)>, String> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let mut input = Input::new(bytes);
    let len = input.array_len()?;
    if len != 1 {
        return Err(format!("an array of {len} where 1 belongs"));
    }
    let mtime = read_mtime(&mut input)?;
    input.end()?;
    Ok(mtime)
}

/// What writing to memory answers: it cannot fail.
type Written = Result<(), ValueWriteError<Infallible>>;

fn written(write: impl FnOnce(&mut ByteBuf) -> Written) -> Vec<u8> {
    let mut out = ByteBuf::new();
    match write(&mut out) {
        Ok(()) => out.into_vec(),
        Err(ValueWriteError::InvalidMarkerWrite(never) | ValueWriteError::InvalidDataWrite(never)) => {
            match never {}
        }
    }
}

/// Writes the head of an array. A file has fewer than 2^32 objects and references.
fn write_len(out: &mut ByteBuf, len: usize) -> Written {
    encode::write_array_len(out, u32::try_from(len).unwrap_or(u32::MAX)).map(|_| ())
}

fn write_mtime(out: &mut ByteBuf, mtime: Mtime) -> Written {
    match mtime {
        None => encode::write_nil(out).map_err(ValueWriteError::InvalidMarkerWrite),
        Some((seconds, 0)) => encode::write_sint(out, seconds).map(|_| ()),
        Some((seconds, nanos)) => {
            encode::write_array_len(out, 2)?;
            encode::write_sint(out, seconds)?;
            encode::write_uint(out, nanos.min(NANOS.saturating_sub(1)).into()).map(|_| ())
        }
    }
}

fn read_mtime(input: &mut Input<'_>) -> Result<Mtime, String> {
    if input.nil() {
        return Ok(None);
    }
    if !input.pair_follows() {
        return Ok(Some((input.int()?, 0)));
    }
    input.array_len()?;
    let (seconds, nanos) = (input.int()?, input.uint()?);
    if (1..NANOS).contains(&nanos) { Ok(Some((seconds, nanos))) } else { Err(format!("{nanos} nanoseconds")) }
}

/// Reads a list of references into `object`; returns their count.
fn read_refs(input: &mut Input<'_>, class: RefClass, object: &mut MetaObject) -> Result<u32, String> {
    let count = input.array_len()?;
    object.refs.reserve(usize::try_from(count).unwrap_or(0));
    let mut offset = object.range.start;
    for _ in 0..count {
        let delta = input.uint()?;
        let next = offset.checked_add(delta).filter(|next| *next > offset && *next < object.range.end);
        let Some(next) = next else {
            return Err(format!("reference {delta} bytes after {offset} in object {:?}", object.range));
        };
        offset = next;
        object.refs.push((class, offset));
    }
    Ok(count)
}

fn read_objects(input: &mut Input<'_>, first: Range<u32>) -> Result<Vec<MetaObject>, String> {
    let count = input.array_len()?;
    let mut objects: Vec<MetaObject> = Vec::new();
    for index in 0..count {
        let object = read_object(input)?;
        let expect = objects.last().map_or(first.start, |before| before.range.end);
        let fits = if index == 0 { object.range == first } else { object.range.start >= expect };
        if !fits {
            return Err(format!("object {index} lies at {:?}, after {expect}", object.range));
        }
        if object.id.is_none() && (index > 0 || count == 1) {
            return Err(format!("object {index} of {count} has no id"));
        }
        objects.push(object);
    }
    if objects.is_empty() { Err("no objects".to_owned()) } else { Ok(objects) }
}

fn read_object(input: &mut Input<'_>) -> Result<MetaObject, String> {
    let len = input.array_len()?;
    if len != OBJECT_LEN {
        return Err(format!("an array of {len} where {OBJECT_LEN} belong"));
    }
    let id = if input.nil() { None } else { Some(input.bin()?) };
    let (start, len) = (input.uint()?, input.uint()?);
    let end = start.checked_add(len).ok_or_else(|| format!("an object of {len} bytes at {start}"))?;
    let mut object = MetaObject { id, range: start..end, refs: Vec::new() };
    for class in CLASSES {
        read_refs(input, class, &mut object)?;
    }
    Ok(object)
}

#[cfg(test)]
mod tests;
