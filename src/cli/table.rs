//! Rows for people: a table on a terminal, tab-separated lines in a pipe, mostly without a head.

use comfy_table::{CellAlignment, Table, presets};

use crate::error::Result;
use crate::id::Location;

use super::output::Output;
use super::text::{show, show_size};

/// One field of a row.
#[derive(Clone, Debug)]
pub(crate) enum Field {
    /// A name.
    Name(Vec<u8>),
    /// A number of items.
    Count(u64),
    /// A number of bytes: with a unit on a terminal, plain in a pipe.
    Bytes(u64),
    /// Where a record lies, `segment:offset`.
    At(Location),
}

impl Field {
    fn show(&self, person: bool) -> String {
        match self {
            Field::Name(name) => show(name),
            Field::Bytes(bytes) if person => show_size(*bytes),
            Field::Count(number) | Field::Bytes(number) => number.to_string(),
            Field::At(location) => format!("{}:{}", location.segment.0, location.offset),
        }
    }

    fn alignment(&self) -> CellAlignment {
        match self {
            Field::Name(_) => CellAlignment::Left,
            Field::Count(_) | Field::Bytes(_) | Field::At(_) => CellAlignment::Right,
        }
    }
}

/// Rows on their way out. On a terminal they wait for [`finish`](Rows::finish), so that columns align.
pub(crate) struct Rows<'a> {
    out: &'a Output,
    table: Option<Table>,
}

impl<'a> Rows<'a> {
    /// Begins a table with these column titles.
    pub(crate) fn new(out: &'a Output, titles: &[&str]) -> Rows<'a> {
        let table = out.is_terminal().then(|| head(titles));
        Rows { out, table }
    }

    /// The same with the titles in a pipe too, for an output of several tables.
    ///
    /// # Errors
    /// Those of the output.
    pub(crate) fn titled(out: &'a Output, titles: &[&str]) -> Result<Rows<'a>> {
        if !out.is_terminal() {
            out.line(&titles.join("\t"))?;
        }
        Ok(Rows::new(out, titles))
    }

    /// Adds a row.
    ///
    /// # Errors
    /// Those of the output.
    pub(crate) fn row(&mut self, fields: &[Field]) -> Result<()> {
        if let Some(table) = &mut self.table {
            add(table, fields);
            return Ok(());
        }
        let fields: Vec<String> = fields.iter().map(|field| field.show(false)).collect();
        self.out.line(&fields.join("\t"))
    }

    /// Ends the table.
    ///
    /// # Errors
    /// Those of the output.
    pub(crate) fn finish(self) -> Result<()> {
        self.table.map_or(Ok(()), |table| self.out.line(&table.trim_fmt()))
    }
}

fn head(titles: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(titles);
    table
}

fn add(table: &mut Table, fields: &[Field]) {
    let cell = |field: &Field| comfy_table::Cell::new(field.show(true)).set_alignment(field.alignment());
    table.add_row(fields.iter().map(cell).collect::<Vec<_>>());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::SegmentId;

    #[test]
    fn a_table_aligns_numbers_to_the_right_and_names_to_the_left() {
        let mut table = head(&["NAME", "SIZE", "LOCATION"]);
        let at = |offset| Field::At(Location { segment: SegmentId(3), offset });
        add(&mut table, &[Field::Name(b"a".to_vec()), Field::Bytes(2048), at(96)]);
        add(&mut table, &[Field::Name(b"long".to_vec()), Field::Bytes(7), at(10_000)]);
        assert_eq!(
            table.trim_fmt(),
            " NAME  SIZE     LOCATION\n a     2.0 KiB      3:96\n long      7 B   3:10000"
        );
    }

    #[test]
    fn pipes_get_plain_numbers() {
        assert_eq!(Field::Bytes(2048).show(false), "2048");
        assert_eq!(Field::Name(b"a\tb".to_vec()).show(false), "a\\tb");
    }
}
