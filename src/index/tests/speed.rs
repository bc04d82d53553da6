use super::*;
use std::time::Instant;
struct Flat(Vec<Key>);
impl RecordKeys for Flat {
    fn key_at(&self, at: Location) -> Result<Option<Key>> {
        let n = (at.segment.0 as usize) * 50_000 + (at.offset as usize - 96) / 1200;
        Ok(self.0.get(n).copied())
    }
}
#[test]
fn speed() {
    let n = 1_000_000usize;
    let mut keys = Vec::new();
    for i in 0..n {
        let mut k = [0u8; 24];
        k[..8].copy_from_slice(&(i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
        keys.push(Key::new(ObjectKey(k), RunKey((i / 100) as u64)));
    }
    for shuffled in [false, true] {
        let mut b = IndexBuilder::new(IndexMeta { seed: 5, ..base_meta(1) });
        for j in 0..n {
            let i = if shuffled { j * 7_368_787 % n } else { j };
            let key = keys[i];
            let at = Location {
                segment: SegmentId((i / 50_000) as u32),
                offset: ((i % 50_000) * 1200 + 96) as u32,
            };
            b.entry(Entry { hash: hash_key(&key.object, 5), run: key.run, at, flags: EntryFlags::default() });
        }
        for r in 0..n / 100 {
            b.run(RunRow { snapshots: 100, ..RunRow::new(RunKey(r as u64)) });
        }
        let t = Instant::now();
        let bytes = b.build().expect("ok");
        eprintln!("build {:?} {} MB", t.elapsed(), bytes.len() >> 20);
        let t = Instant::now();
        let idx = Index::open(bytes, "i", STORE).expect("ok");
        eprintln!("open {:?}", t.elapsed());
        let log = Flat(keys.clone());
        for _ in 0..2 {
            let t = Instant::now();
            for j in 0..n {
                let key = &keys[j * 7_368_787 % n];
                let f = idx.floor(&key.object, RunKey::MAX, &log).expect("ok").expect("there");
                assert!(f.run == key.run);
            }
            eprintln!("hit {:?} each", t.elapsed() / n as u32);
        }
        let t = Instant::now();
        for j in 0..n {
            let mut k = [1u8; 24];
            k[..8].copy_from_slice(&(j as u64).to_le_bytes());
            assert!(idx.floor(&ObjectKey(k), RunKey::MAX, &log).expect("ok").is_none());
        }
        eprintln!("miss {:?} each", t.elapsed() / n as u32);
        let t = Instant::now();
        assert!(problems(&idx).is_empty());
        eprintln!("verify {:?}", t.elapsed());
        let t = Instant::now();
        let m = merge(&[&idx], None, FileKind::Base, &log).expect("ok");
        eprintln!("merge {:?} {}", t.elapsed(), m.entries.len());
    }
    let mut o = Overlay::new(5, Totals::default());
    let t = Instant::now();
    for (j, key) in keys.iter().take(100_000).enumerate() {
        let at = Location { segment: SegmentId(1), offset: j as u32 * 100 + 96 };
        o.put(*key, OverlayEntry { at, flags: EntryFlags::default(), stored_len: 1, file_len: 1 }, None);
    }
    eprintln!("overlay put {:?} each", t.elapsed() / 100_000);
    let t = Instant::now();
    let c = o.clone();
    eprintln!("overlay clone {:?} {}", t.elapsed(), c.len());
}
