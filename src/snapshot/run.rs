//! Names of run directories: `%Y%m%dT%H%M%SZ`, read as loosely as Python's `strptime` reads it.
//!
//! OpenCTI's connectors decide with `datetime.strptime` which directories are runs. It turns the format
//! into a regular expression: two-digit fields may have one digit, a day may have a blank before its
//! digit, letters may be lower case, and most digits may be of any script. This module answers the same
//! without a regular expression; `tests/data/strptime.tsv` holds what Python 3.11 said.

use crate::id::Instant;

/// The digit zero of every script in Unicode 14.0, the version of Python 3.11 (its `unicodedata`,
/// category Nd). The digits one to nine follow each.
const ZEROS: [char; 66] = [
    '\u{30}',
    '\u{660}',
    '\u{6f0}',
    '\u{7c0}',
    '\u{966}',
    '\u{9e6}',
    '\u{a66}',
    '\u{ae6}',
    '\u{b66}',
    '\u{be6}',
    '\u{c66}',
    '\u{ce6}',
    '\u{d66}',
    '\u{de6}',
    '\u{e50}',
    '\u{ed0}',
    '\u{f20}',
    '\u{1040}',
    '\u{1090}',
    '\u{17e0}',
    '\u{1810}',
    '\u{1946}',
    '\u{19d0}',
    '\u{1a80}',
    '\u{1a90}',
    '\u{1b50}',
    '\u{1bb0}',
    '\u{1c40}',
    '\u{1c50}',
    '\u{a620}',
    '\u{a8d0}',
    '\u{a900}',
    '\u{a9d0}',
    '\u{a9f0}',
    '\u{aa50}',
    '\u{abf0}',
    '\u{ff10}',
    '\u{104a0}',
    '\u{10d30}',
    '\u{11066}',
    '\u{110f0}',
    '\u{11136}',
    '\u{111d0}',
    '\u{112f0}',
    '\u{11450}',
    '\u{114d0}',
    '\u{11650}',
    '\u{116c0}',
    '\u{11730}',
    '\u{118e0}',
    '\u{11950}',
    '\u{11c50}',
    '\u{11d50}',
    '\u{11da0}',
    '\u{16a60}',
    '\u{16ac0}',
    '\u{16b50}',
    '\u{1d7ce}',
    '\u{1d7d8}',
    '\u{1d7e2}',
    '\u{1d7ec}',
    '\u{1d7f6}',
    '\u{1e140}',
    '\u{1e2f0}',
    '\u{1e950}',
    '\u{1fbf0}',
];

/// Most characters of a name that can be a run: all fields at full width.
const NAME_MAX_CHARS: usize = 16;

/// Parses a run directory's name, or says `None`: then it is no run.
///
/// Follows `CPython` 3.11, `Lib/_strptime.py` (the regular expression) and `datetime` (which dates exist).
pub fn parse(name: &str) -> Option<Instant> {
    let chars: Vec<char> = name.chars().take(NAME_MAX_CHARS.saturating_add(1)).collect();
    if chars.len() > NAME_MAX_CHARS {
        return None;
    }
    // No field holds letters, so the first T and a last Z are the ones of the format.
    let (last, chars) = chars.split_last()?;
    let cut = chars.iter().position(|c| c.eq_ignore_ascii_case(&'T'))?;
    let (date, time) = (chars.get(..cut)?, chars.get(cut.checked_add(1)?..)?);
    if !last.eq_ignore_ascii_case(&'Z') {
        return None;
    }
    let (year, days) = date.split_at_checked(4)?;
    let year =
        year.iter().try_fold(0, |year: i16, c| year.checked_mul(10)?.checked_add(digit(*c)?.into()))?;
    let [month, day] = fields(days, [month, day])?;
    let [hour, minute, second] = fields(time, [hour, minute, second])?;
    instant(year, [month, day, hour, minute, second])
}

/// Reads a field of two characters, or of one if there is no second.
type Field = fn(char, Option<char>) -> Option<i8>;

/// Splits `text` into all of `wanted`. Each field takes two characters if it can, else one, and is asked
/// again if the fields after it find no way to end where the text ends: as the regular expression does.
fn fields<const N: usize>(text: &[char], wanted: [Field; N]) -> Option<[i8; N]> {
    let mut values = [0; N];
    fill(text, &wanted, &mut values).then_some(values)
}

/// Recursion is as deep as there are fields.
fn fill(text: &[char], wanted: &[Field], values: &mut [i8]) -> bool {
    let (Some((field, wanted)), Some((value, values))) = (wanted.split_first(), values.split_first_mut())
    else {
        return text.is_empty();
    };
    if let [first, second, rest @ ..] = text
        && let Some(two) = field(*first, Some(*second))
        && fill(rest, wanted, values)
    {
        *value = two;
        return true;
    }
    if let [first, rest @ ..] = text
        && let Some(one) = field(*first, None)
        && fill(rest, wanted, values)
    {
        *value = one;
        return true;
    }
    false
}

/// `1[0-2]|0[1-9]|[1-9]`
fn month(first: char, second: Option<char>) -> Option<i8> {
    match (first, second) {
        ('1', Some('0'..='2')) | ('0', Some('1'..='9')) => pair(first, second?),
        ('1'..='9', None) => digit(first),
        _ => None,
    }
}

/// `3[0-1]|[1-2]\d|0[1-9]|[1-9]| [1-9]`
fn day(first: char, second: Option<char>) -> Option<i8> {
    match (first, second) {
        ('3', Some('0'..='1')) | ('0', Some('1'..='9')) | ('1'..='2', Some(_)) => pair(first, second?),
        (' ', Some(only @ '1'..='9')) | (only @ '1'..='9', None) => digit(only),
        _ => None,
    }
}

/// `2[0-3]|[0-1]\d|\d`
fn hour(first: char, second: Option<char>) -> Option<i8> {
    match (first, second) {
        ('2', Some('0'..='3')) | ('0'..='1', Some(_)) => pair(first, second?),
        (only, None) => digit(only),
        _ => None,
    }
}

/// `[0-5]\d|\d`
fn minute(first: char, second: Option<char>) -> Option<i8> {
    match (first, second) {
        ('0'..='5', Some(_)) => pair(first, second?),
        (only, None) => digit(only),
        _ => None,
    }
}

/// `6[0-1]|[0-5]\d|\d`; no time has the seconds 60 and 61, but they are read as one field.
fn second(first: char, second: Option<char>) -> Option<i8> {
    match (first, second) {
        ('6', Some('0'..='1')) => pair(first, second?),
        _ => minute(first, second),
    }
}

fn pair(first: char, second: char) -> Option<i8> {
    digit(first)?.checked_mul(10)?.checked_add(digit(second)?)
}

/// Returns the value of a decimal digit of any script.
fn digit(c: char) -> Option<i8> {
    let zero = match ZEROS.binary_search(&c) {
        Ok(_) => return Some(0),
        Err(after) => ZEROS.get(after.checked_sub(1)?)?,
    };
    let value = u32::from(c).checked_sub(u32::from(*zero))?;
    i8::try_from(value).ok().filter(|value| *value < 10)
}

/// Returns the instant, if there is such a date and time. There is no year 0 and no second 60.
fn instant(year: i16, [month, day, hour, minute, second]: [i8; 5]) -> Option<Instant> {
    if year < 1 {
        return None;
    }
    let date = jiff::civil::Date::new(year, month, day).ok()?;
    let at = date.to_datetime(jiff::civil::Time::new(hour, minute, second, 0).ok()?);
    let since = at.duration_since(jiff::civil::date(1, 1, 1).at(0, 0, 0, 0));
    u64::try_from(since.as_secs()).ok().map(Instant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_as_python_reads_them() {
        let table = include_str!("../../tests/data/strptime.tsv");
        let (mut runs, mut others) = (0, 0);
        for line in table.lines() {
            let (name, seconds) = line.split_once('\t').unwrap();
            let name: String = serde_json::from_str(name).unwrap();
            let expect = (seconds != "-").then(|| Instant(seconds.parse().unwrap()));
            assert_eq!(parse(&name), expect, "{name:?}");
            *(if expect.is_some() { &mut runs } else { &mut others }) += 1;
        }
        assert!(runs > 500 && others > 500, "{runs} runs, {others} others");
    }

    #[test]
    fn canonical_names_are_read_back() {
        for seconds in (0..Instant::MAX.0).step_by(9_999_999_967).chain([Instant::MAX.0]) {
            assert_eq!(parse(&Instant(seconds).canonical_name()), Some(Instant(seconds)));
        }
    }

    #[test]
    fn every_digit_of_the_table_has_its_value_and_no_neighbour_has_one() {
        assert!(ZEROS.is_sorted());
        let mut count = 0;
        for c in '\0'..=char::MAX {
            if let Some(value) = digit(c) {
                count += 1;
                assert!(
                    ZEROS.contains(&char::from_u32(u32::from(c) - u32::try_from(value).unwrap()).unwrap())
                );
            }
        }
        assert_eq!(count, 660, "decimal digits in Unicode 14.0");
    }

    #[test]
    fn long_names_are_no_runs_and_cost_little() {
        assert_eq!(parse(&"2".repeat(1 << 20)), None);
    }

    proptest::proptest! {
        #[test]
        fn no_name_panics(name in "[0-9 tTzZ\\PC]{0,20}") {
            let _ = parse(&name);
        }
    }
}
