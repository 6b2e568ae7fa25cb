//! Edits by whole lines: every line that is not concerned stays byte by byte, with its line end.

use std::ops::Range;

use toml_edit::{Document, Item, Key, Table};

/// The mark that some editors write at the beginning of a text.
const BOM: char = '\u{feff}';

/// A line without its end, and its end: `"\n"`, `"\r\n"`, or nothing in the last line.
type Line<'t> = (&'t str, &'t str);

fn split(text: &str) -> Vec<Line<'_>> {
    let ended = text.split_inclusive('\n').map(|line| {
        let content = line.strip_suffix('\n').unwrap_or(line);
        let content = content.strip_suffix('\r').unwrap_or(content);
        line.split_at(content.len())
    });
    ended.collect()
}

/// The mark at the beginning of a text, and the text with line feeds as the only line ends.
pub(super) fn plain(text: &str) -> String {
    text.trim_start_matches(BOM).replace("\r\n", "\n")
}

/// A text with the changes that were made to its plain form.
pub(super) fn carry(original: &str, after: &str) -> String {
    let body = original.trim_start_matches(BOM);
    let mark = &original[..original.len() - body.len()];
    let (old, new) = (split(body), split(after));
    let shorter = old.len().min(new.len());
    let is_same = |(old, new): &(&Line<'_>, &Line<'_>)| old.0 == new.0;
    let head = old.iter().zip(&new).take_while(is_same).count();
    let tails = old.iter().rev().zip(new.iter().rev());
    let tail = tails.take(shorter - head).take_while(is_same).count();
    let end = end_at(&old, head);
    let changed = new[head..new.len() - tail].iter().map(|line| (line.0, end));
    let kept = |range: Range<usize>| old[range].iter().copied();
    let whole = kept(0..head)
        .chain(changed)
        .chain(kept(old.len() - tail..old.len()));
    joined(mark, whole, end, body)
}

/// The end of a new line: that of the line above it, or else of the first line of the file.
fn end_at<'t>(lines: &[Line<'t>], at: usize) -> &'t str {
    let end = |at: usize| {
        lines
            .get(at)
            .map(|line| line.1)
            .filter(|end| !end.is_empty())
    };
    let above = at.checked_sub(1).and_then(end);
    above.or_else(|| end(0)).unwrap_or("\n")
}

/// The text of lines. It ends with a line end if the original does, and only then.
fn joined<'t>(
    mark: &str,
    lines: impl Iterator<Item = Line<'t>>,
    end: &str,
    original: &str,
) -> String {
    let mut text = mark.to_owned();
    let mut last = "";
    for (content, own) in lines {
        last = if own.is_empty() { end } else { own };
        text.push_str(content);
        text.push_str(last);
    }
    if !original.is_empty() && !original.ends_with('\n') {
        text.truncate(text.len() - last.len());
    }
    text
}

/// The text with the lines of a new tenant after the others. `None` if the tenants are an inline table.
/// Whether it means what it should is not examined, as in [`without`].
pub(super) fn with(original: &str, entry: &str, header: bool) -> Option<String> {
    let body = original.trim_start_matches(BOM);
    let mark = &original[..original.len() - body.len()];
    let document = Document::parse(body).ok()?;
    let lines = split(body);
    let mut blocks = Vec::new();
    let above = match document.as_table().get_key_value("tenants") {
        Some((key, Item::Table(table))) if !table.is_implicit() && !table.is_dotted() => {
            with_header(body, key, table, &mut blocks)?;
            // The table's own block is the last one.
            blocks.last()?.end
        }
        Some((key, item @ Item::Table(_))) => {
            collect(body, key, item, &mut blocks)?;
            blocks.iter().map(|block| block.end).max()?
        }
        Some((_, Item::None | Item::Value(_) | Item::ArrayOfTables(_))) => return None,
        None => lines.len(),
    };
    let end = end_at(&lines, above);
    let gap = (header && above > 0).then_some(("", end));
    let entry = entry.lines().map(|line| (line, end));
    let (head, tail) = lines.split_at_checked(above)?;
    let whole = head
        .iter()
        .copied()
        .chain(gap)
        .chain(entry)
        .chain(tail.iter().copied());
    Some(joined(mark, whole, end, body))
}

/// The text without the lines of one tenant and the comments directly above them. Whether these
/// lines have parts of others too is not examined: the caller compares what is left.
pub(super) fn without(original: &str, tenant: &str) -> Option<String> {
    let body = original.trim_start_matches(BOM);
    let mark = &original[..original.len() - body.len()];
    let document = Document::parse(body).ok()?;
    let tenants = document.as_table().get("tenants")?;
    let (key, item) = match tenants {
        Item::Table(table) => table.get_key_value(tenant)?,
        Item::Value(value) => {
            let (key, value) = value.as_inline_table()?.get_key_value(tenant)?;
            (key, value)
        }
        Item::None | Item::ArrayOfTables(_) => return None,
    };
    let lines = split(body);
    let mut blocks = Vec::new();
    collect(body, key, item, &mut blocks)?;
    let mut goes = vec![false; lines.len()];
    for block in blocks {
        let is_comment = |at: &usize| lines[*at].0.trim_start().starts_with('#');
        let comments = (0..block.start).rev().take_while(is_comment).count();
        goes.get_mut(block.start - comments..block.end)?.fill(true);
    }
    close_gaps(&lines, &mut goes);
    let stay = lines.iter().zip(&goes).filter(|(_, goes)| !**goes);
    let stay = stay.map(|(line, _)| *line);
    Some(joined(mark, stay, end_at(&lines, 0), body))
}

/// Where a removed block had an empty line above and below, or the end of the file below, one of the
/// empty lines is removed too.
fn close_gaps(lines: &[Line<'_>], goes: &mut [bool]) {
    let is_empty = |at: usize| lines.get(at).is_none_or(|line| line.0.trim().is_empty());
    let mut at = 0;
    while let Some(begin) = (at..goes.len()).find(|at| goes[*at]) {
        let end = (begin..goes.len()).find(|at| !goes[*at]);
        let end = end.unwrap_or(goes.len());
        let gap_above = begin == 0 || is_empty(begin - 1);
        if gap_above && end < goes.len() && is_empty(end) {
            goes[end] = true;
        } else if gap_above && end == goes.len() && begin > 0 {
            goes[begin - 1] = true;
        }
        at = end + 1;
    }
}

/// The lines of a key and its value: of a table with a header, from its header to its last key.
/// `None` if the parser does not say where something is.
fn collect(text: &str, key: &Key, item: &Item, blocks: &mut Vec<Range<usize>>) -> Option<()> {
    match item {
        Item::None => {}
        Item::Value(value) => {
            let (key, value) = (key.span()?, value.span()?);
            blocks.push(lines(text, key.start..value.end));
        }
        Item::Table(table) if table.is_dotted() || table.is_implicit() => {
            for (name, _) in table {
                let (key, item) = table.get_key_value(name)?;
                collect(text, key, item, blocks)?;
            }
        }
        Item::Table(table) => with_header(text, key, table, blocks)?,
        Item::ArrayOfTables(_) => return None,
    }
    Some(())
}

fn with_header(text: &str, key: &Key, table: &Table, blocks: &mut Vec<Range<usize>>) -> Option<()> {
    let mut block = lines(text, key.span()?);
    for (name, _) in table {
        let (key, item) = table.get_key_value(name)?;
        let mut own = Vec::new();
        collect(text, key, item, &mut own)?;
        match item {
            Item::Table(table) if !table.is_dotted() => blocks.extend(own),
            Item::None | Item::Value(_) | Item::Table(_) | Item::ArrayOfTables(_) => {
                let ends = own.iter().map(|lines| lines.end);
                block.end = ends.max().unwrap_or(0).max(block.end);
            }
        }
    }
    blocks.push(block);
    Some(())
}

/// The numbers of the lines that a span touches, from 0.
fn lines(text: &str, span: Range<usize>) -> Range<usize> {
    let number = |at: usize| text[..at].matches('\n').count();
    number(span.start)..number(span.end) + 1
}
