//! Columns, aligned as Go's `tabwriter` with Docker's settings does: cells end with a tab, columns are at least
//! ten wide and three apart, and a column is a run of lines that have it.

/// Aligns tab-separated cells.
#[must_use]
pub fn align(text: &str, narrowest: usize) -> String {
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    let mut table =
        Table { lines: &lines, widths: Vec::new(), narrowest, out: String::with_capacity(text.len() * 2) };
    table.format(0, lines.len());
    table.out
}

/// Blanks between columns.
const PADDING: usize = 3;

struct Table<'a> {
    lines: &'a [Vec<&'a str>],
    /// Widths of the columns that the lines at hand share.
    widths: Vec<usize>,
    narrowest: usize,
    out: String,
}

impl Table<'_> {
    /// Lines `start..end`, whose first columns have their widths already.
    fn format(&mut self, mut start: usize, end: usize) {
        let column = self.widths.len();
        // A line's last cell belongs to no column: nothing has to line up after it.
        let has_column = |line: &Vec<&str>| column + 1 < line.len();
        let mut at = start;
        while at < end {
            if !has_column(&self.lines[at]) {
                at += 1;
                continue;
            }
            self.write(start, at);
            start = at;
            let mut width = self.narrowest;
            while at < end && has_column(&self.lines[at]) {
                width = width.max(self.lines[at][column].chars().count() + PADDING);
                at += 1;
            }
            self.widths.push(width);
            self.format(start, at);
            self.widths.pop();
            start = at;
        }
        self.write(start, end);
    }

    fn write(&mut self, start: usize, end: usize) {
        for line in &self.lines[start..end] {
            for (at, cell) in line.iter().enumerate() {
                self.out.push_str(cell);
                if let Some(width) = self.widths.get(at).filter(|_| at + 1 < line.len()) {
                    self.out.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count())));
                }
            }
            self.out.push('\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let text = "CONTAINER ID\tIMAGE\tPORTS\tNAMES\n0123456789ab\tnanoserver:latest\t\tweb\n";
        let want = "CONTAINER ID   IMAGE               PORTS     NAMES\n0123456789ab   nanoserver:latest             web\n";
        assert_eq!(align(text, 10), want);
    }

    #[test]
    fn a_line_without_the_column_ends_it() {
        assert_eq!(align("a\tb\nplain\nlonger than ten\tc\n", 0), "a   b\nplain\nlonger than ten   c\n");
        assert_eq!(align("", 10), "");
        assert_eq!(align("PID\tCMD\n1\tsh\n", 20), "PID                 CMD\n1                   sh\n");
    }
}
