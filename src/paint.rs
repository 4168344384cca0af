//! How answers to a person look: colours on a terminal, plain text in a pipe or under
//! `NO_COLOR` (`anstream` sees to that), tables as wide as the terminal.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
};

use anstyle::{AnsiColor, Style};
use comfy_table::{ContentArrangement, LineStyle, Table, TableStyle};

/// Headings.
pub(crate) const HEAD: Style = Style::new().bold();
/// What went well.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
/// What didn't.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// What deserves a second look.
pub(crate) const CARE: Style = AnsiColor::Yellow.on_default();
/// Names that a person might type or look for.
pub(crate) const NAME: Style = AnsiColor::Cyan.on_default();
/// What frames the rest.
pub(crate) const FAINT: Style = Style::new().dimmed();

/// Columns of a pipe, and the most of a terminal: longer lines are hard to read.
const MAX_WIDTH: u16 = 100;

/// Below, no table would be one.
const MIN_WIDTH: u16 = 40;

/// Writes to standard output, in colour where it shows.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// How wide an answer may be: as `COLUMNS` says, or the terminal.
pub(crate) fn width() -> u16 {
    let asked = || std::env::var("COLUMNS").ok()?.parse().ok();
    let terminal = || terminal_size::terminal_size().map(|(width, _)| width.0);
    asked().or_else(terminal).unwrap_or(MAX_WIDTH).clamp(MIN_WIDTH, MAX_WIDTH)
}

/// A table with a header, wrapped to the terminal.
pub(crate) fn table<const N: usize>(header: [&str; N], rows: Vec<[String; N]>) -> String {
    let mut table = Table::new();
    table
        .load_style(TABLE)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(width())
        .set_header(header);
    for row in rows {
        table.add_row(row);
    }
    let mut text = String::new();
    for (number, line) in table.lines().enumerate() {
        let style = match number {
            0 => HEAD,
            1 => FAINT,
            _ => Style::new(),
        };
        // Writing to a String does not fail.
        let _ = writeln!(text, " {style}{}{style:#}", line.trim_end());
    }
    text
}

/// A rule under the header, and room.
const TABLE: TableStyle =
    TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// Names and values below each other; a value of several lines, or of one that
/// is too long, goes on below its beginning.
pub(crate) fn facts(facts: &[(&str, String)]) -> String {
    let longest = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let room = usize::from(width()).saturating_sub(longest + 5).max(20);
    let mut text = String::new();
    for (name, value) in facts {
        let mut name = *name;
        for line in value.lines() {
            let characters: Vec<char> = line.chars().collect();
            for part in characters.chunks(room) {
                let part: String = part.iter().collect();
                // Writing to a String does not fail.
                let _ = writeln!(text, "  {FAINT}{name:longest$}{FAINT:#}  {part}");
                name = "";
            }
        }
    }
    text
}

/// Text broken into lines that fit, each with an indent.
pub(crate) fn paragraph(indent: &str, text: &str) -> String {
    let room = usize::from(width()).saturating_sub(indent.len());
    let mut lines: Vec<String> = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > room {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    let indented = lines.iter().map(|line| format!("{indent}{line}").trim_end().to_owned());
    indented.collect::<Vec<_>>().join("\n")
}

/// Text from a stranger, fit for a terminal: what would move the cursor, colour
/// the screen or turn the line around is written as an escape.
pub(crate) fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        let invisible = matches!(letter,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
        if letter.is_control() || invisible {
            shown.extend(letter.escape_unicode());
        } else {
            shown.push(letter);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strangers_text_can_not_move_the_cursor_or_turn_the_line_around() {
        for (text, shown) in [
            ("plain é 漢", "plain é 漢"),
            ("\u{1b}[2J", "\\u{1b}[2J"),
            ("a\nb", "a\\u{a}b"),
            ("\u{202e}gnp", "\\u{202e}gnp"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("in\u{200b}visible", "in\\u{200b}visible"),
        ] {
            assert_eq!(harmless(text), shown);
        }
    }

    #[test]
    fn paragraphs_are_broken_between_words() {
        let text = "word ".repeat(60);
        let shown = paragraph("    ", &text);
        assert!(shown.lines().count() > 2);
        assert!(shown.lines().all(|line| line.starts_with("    word") && line.len() <= 100));
        assert_eq!(paragraph("  ", "one\n\ntwo"), "  one\n\n  two");
    }
}
