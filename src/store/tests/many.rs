//! Many lookups at once answer as one after the other do.

use super::*;

/// Says what an answer is, for comparison.
fn say(answer: Result<Option<Snapshot<'_>>>) -> String {
    match answer.and_then(|found| found.map(|it| Ok((it.run(), it.body()?.into_owned()))).transpose()) {
        Ok(Some((run, body))) => format!("{} {}", run.0, String::from_utf8_lossy(&body)),
        Ok(None) => "none".to_owned(),
        Err(error) => error.to_string(),
    }
}

fn compare(view: &View, ids: &[Vec<u8>]) -> Vec<String> {
    let mut all = Vec::new();
    for when in [When::Newest, When::In(run(2)), When::AtOrBefore(At(120)), When::After(At(60))] {
        let many: Vec<String> = view.get_many(ids, when).into_iter().map(say).collect();
        let each: Vec<String> = ids.iter().map(|id| say(view.find(id, when))).collect();
        assert_eq!(many, each, "{when:?}");
        all.extend(many);
    }
    all
}

#[test]
fn many_lookups_answer_in_the_order_asked_for_and_each_for_itself() {
    let (mem, store) = create(4096);
    let mut writer = writer(&store);
    for number in 0..300 {
        put(&mut writer, number, 1, format!("{number} {}", "first ".repeat(20)).as_bytes());
    }
    writer.commit().unwrap();
    writer.close().unwrap();
    let store = reopen(&mem);
    let mut writer = super::writer(&store);
    for number in (0..300).step_by(3) {
        put(&mut writer, number, 2, format!("{number} second").as_bytes());
    }
    writer.commit().unwrap();
    // Absent ones, ids that are none, one twice, and more than are looked up together.
    let mut ids: Vec<Vec<u8>> = (0..310).rev().map(id).collect();
    ids.extend([b"".to_vec(), b"no id".to_vec(), id(7), id(7)]);
    for view in [store.view(), store.view().without_maps()] {
        let first = compare(&view, &ids);
        // Once more, now that segments are mapped.
        assert_eq!(compare(&view, &ids), first);
        assert_eq!((first[0].as_str(), first[ids.len() - 1].contains(" 7 first")), ("none", true));
    }
    writer.close().unwrap();
    let store = reopen(&mem);
    let first = compare(&store.view(), &ids);
    assert!(first[306].ends_with("3 second"), "{}", first[306]);
    assert!(store.view().get_many(&ids[..0], When::Newest).is_empty());
}

#[test]
fn of_many_lookups_the_damaged_one_alone_is_an_error() {
    let (mem, store) = create(1 << 20);
    let mut writer = writer(&store);
    for number in 0..64 {
        put(&mut writer, number, 1, format!("{number} {}", "x".repeat(200)).as_bytes());
    }
    writer.commit().unwrap();
    writer.close().unwrap();
    let at = reopen(&mem).view().latest(id(40)).unwrap().unwrap().location();
    let path = format!("data/{}.seg", at.segment);
    let mut bytes = mem.bytes(&path).unwrap();
    bytes[usize::try_from(at.offset).unwrap() + 60] ^= 1;
    assert!(mem.set_bytes(&path, bytes));
    let ids: Vec<Vec<u8>> = (0..64).map(id).collect();
    let view = reopen(&mem).view();
    let wrong: Vec<usize> = view
        .get_many(&ids, When::Newest)
        .iter()
        .enumerate()
        .filter(|(_, answer)| !matches!(answer, Ok(Some(_))))
        .map(|(place, _)| place)
        .collect();
    assert_eq!(wrong, [40]);
    assert!(matches!(view.get_many(&ids[40..41], When::Newest)[0], Err(Error::Damaged { .. })));
}
