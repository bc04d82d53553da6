//! Many segments: how many are open at once.

use super::*;
use crate::limits::MAPPED_SEGMENTS_MAX;

#[test]
fn a_store_of_more_segments_than_may_be_open_answers_all_the_same() {
    let mem = Mem::new();
    let store = Store::create_on(Arc::new(mem.clone()), &options(4096, Compression::None)).unwrap();
    let mut writer = writer(&store);
    let count = u32::try_from(MAPPED_SEGMENTS_MAX).unwrap() + 100;
    let body = |number: u32| vec![u8::try_from(number % 251).unwrap(); 4096];
    for number in 0..count {
        put(&mut writer, number, 1, &body(number));
        writer.commit().unwrap();
    }
    writer.close().unwrap();
    let store = reopen(&mem);
    let view = store.view();
    let segments = store.inner.state.read().segments.clone();
    assert!(segments.ids().len() > MAPPED_SEGMENTS_MAX);
    for number in (0..count).chain((0..count).rev()).chain((0..count).step_by(7)) {
        assert_eq!(latest(&view, number), Some(body(number)));
        assert!(segments.open_count() <= MAPPED_SEGMENTS_MAX);
    }
    assert_eq!(segments.open_count(), MAPPED_SEGMENTS_MAX, "no more are dropped than must be");
}

#[test]
fn a_handle_can_be_shared_and_sent_and_cloned() {
    fn is_shared<T: Send + Sync + Clone>(_: &T) {}
    fn is_sent<T: Send>(_: &T) {}
    let (_mem, store) = create(1 << 20);
    is_shared(&store);
    is_shared(&store.view());
    let mut writer = writer(&store);
    is_sent(&writer);
    put(&mut writer, 1, 1, b"one");
    writer.commit().unwrap();
    let view = store.view();
    let threads: Vec<_> = (0..4)
        .map(|_| (store.clone(), view.clone()))
        .map(|(store, view)| std::thread::spawn(move || (latest(&view, 1), latest(&store.view(), 1))))
        .collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), (Some(b"one".to_vec()), Some(b"one".to_vec())));
    }
}
