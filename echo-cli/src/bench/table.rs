//! Tables for the terminal, in Markdown, so that they can be pasted.

/// Prints `rows` below `head`; the first column stands left, the others right.
pub(crate) fn print(head: &[&str], rows: &[Vec<String>]) {
    print!("{}", render(head, rows));
}

fn render(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let cells = cells.zip(&widths).enumerate().map(|(i, (cell, &width))| {
            if i == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
    };
    let mut text = line(&mut head.iter().copied());
    let rules = widths.iter().enumerate().map(|(i, &width)| {
        if i == 0 { "-".repeat(width + 2) } else { format!("{}:", "-".repeat(width + 1)) }
    });
    text.push_str(&["|", &rules.collect::<Vec<_>>().join("|"), "|\n"].concat());
    for row in rows {
        text.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [vec!["a".into(), "1.25".into()], vec!["long".into(), "×".into()]];
        let text = render(&["row", "n"], &rows);
        let expected = "| row  |    n |\n|------|-----:|\n| a    | 1.25 |\n| long |    × |\n";
        assert_eq!(text, expected);
    }
}
