//! What is wrong with a file and where: collected while it is read, rendered when all is known.

use std::fmt;
use std::ops::Range;
use std::string::FromUtf8Error;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource};

/// The bytes of the file that something is about.
pub(super) type Place = Range<usize>;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    message: String,
    help: Option<String>,
    place: Option<Place>,
    other: Option<(Place, &'static str)>,
}

impl Problem {
    pub(super) fn new(place: Place, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            help: None,
            place: Some(place),
            other: None,
        }
    }

    /// What to do about it.
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Another place that has to do with it, such as where a name was "first defined".
    pub(super) fn other(mut self, place: Place, what: &'static str) -> Self {
        self.other = Some((place, what));
        self
    }
}

/// Everything that is wrong with a file, in file order. Never empty.
///
/// [`fmt::Display`] is for machines and logs: one line per problem,
/// `file:line:column: message (help)`, lines and columns (in characters) from 1.
/// [`Problems::pretty`] is for people at a terminal.
#[derive(Clone, PartialEq, Eq)]
pub struct Problems {
    name: String,
    source: String,
    list: Vec<Problem>,
}

impl Problems {
    pub(super) fn new(name: &str, source: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.place.as_ref().map(|place| place.start));
        Self {
            name: name.to_owned(),
            source: source.to_owned(),
            list: problems,
        }
    }

    pub(super) fn unreadable(name: String, error: &std::io::Error) -> Self {
        let problem = Problem {
            message: format!("cannot be read: {error}"),
            help: Some("give the path of a readable file with --config".to_owned()),
            place: None,
            other: None,
        };
        Self {
            name,
            source: String::new(),
            list: vec![problem],
        }
    }

    pub(super) fn not_utf8(name: &str, error: &FromUtf8Error) -> Self {
        let valid = error.utf8_error().valid_up_to();
        let source = String::from_utf8_lossy(error.as_bytes());
        let problem = Problem::new(valid..valid, "not UTF-8 from here on")
            .help("TOML files are UTF-8: save it in that encoding");
        Self::new(name, &source, vec![problem])
    }

    /// How many problems there are; at least one.
    #[must_use]
    pub fn count(&self) -> usize {
        self.list.len()
    }

    /// The problems as [`fmt::Display`] has them, one line each.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let line_starts = self.line_starts();
        let lines = self.list.iter().map(|it| self.line(it, &line_starts));
        lines.collect()
    }

    /// Every problem with the lines it is about. In colour and with line drawing only where
    /// standard output and error are terminals; `NO_COLOR` is obeyed.
    #[must_use]
    pub fn pretty(&self) -> String {
        self.render(GraphicalTheme::default())
    }

    fn render(&self, theme: GraphicalTheme) -> String {
        let handler = GraphicalReportHandler::new_themed(theme).with_width(100);
        let source = NamedSource::new(&self.name, self.source.clone());
        let mut text = String::new();
        for problem in &self.list {
            let snippet = Snippet {
                problem,
                source: &source,
            };
            // Invariant: writing to a `String` fails only where a label lies outside the source;
            // then the plain line still says it all.
            if handler.render_report(&mut text, &snippet).is_err() {
                text.push_str(&self.line(problem, &self.line_starts()));
            }
        }
        text.trim_end().to_owned()
    }

    fn line(&self, problem: &Problem, line_starts: &[usize]) -> String {
        let locate = |place: &Place| {
            let (line, column) = self.position(place.start, line_starts);
            format!("{line}:{column}")
        };
        let place = problem.place.as_ref().map(locate);
        let place = place.map_or_else(String::new, |place| format!(":{place}"));
        let other = problem.other.as_ref();
        let other = other.map(|(place, what)| format!("{what} at {}", locate(place)));
        let remarks: Vec<String> = other.into_iter().chain(problem.help.clone()).collect();
        let remarks = match remarks.join("; ") {
            remarks if remarks.is_empty() => remarks,
            remarks => format!(" ({remarks})"),
        };
        format!("{}{place}: {}{remarks}", self.name, problem.message)
    }

    fn line_starts(&self) -> Vec<usize> {
        let ends = self.source.match_indices('\n').map(|(end, _)| end + 1);
        std::iter::once(0).chain(ends).collect()
    }

    fn position(&self, offset: usize, line_starts: &[usize]) -> (usize, usize) {
        let line = line_starts.partition_point(|start| *start <= offset);
        let start = line_starts[line - 1];
        let end = self.source.floor_char_boundary(offset);
        (line, self.source[start..end].chars().count() + 1)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.lines().join("\n"))
    }
}

impl fmt::Debug for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl std::error::Error for Problems {}

/// One problem as miette wants it.
struct Snippet<'a> {
    problem: &'a Problem,
    source: &'a NamedSource<String>,
}

impl fmt::Debug for Snippet<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.problem, formatter)
    }
}

impl fmt::Display for Snippet<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problem.place {
            Some(_) => formatter.write_str(&self.problem.message),
            None => write!(
                formatter,
                "{}: {}",
                self.source.name(),
                self.problem.message
            ),
        }
    }
}

impl std::error::Error for Snippet<'_> {}

impl Diagnostic for Snippet<'_> {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let help = self.problem.help.as_ref()?;
        Some(Box::new(help))
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        self.problem.place.as_ref()?;
        Some(self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let place = self.problem.place.clone()?;
        let label = LabeledSpan::new_primary_with_span(Some("here".to_owned()), place);
        let other =
            self.problem.other.clone().map(|(place, what)| {
                LabeledSpan::new_with_span(Some(format!("{what} here")), place)
            });
        Some(Box::new(std::iter::once(label).chain(other)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn duplicate() -> Problems {
        let source = "# häuser\na = 1\n  ä = 2\n";
        let [first, second] = ["a = 1", "2"].map(|text| source.find(text).unwrap());
        let twice = Problem::new(second..second + 1, "twice")
            .other(first..first + 1, "first defined")
            .help("keep one");
        let early = Problem::new(0..1, "early");
        Problems::new("t.toml", source, vec![twice, early])
    }

    #[test]
    fn lines_are_in_file_order_and_columns_count_characters() {
        let text = duplicate().to_string();
        assert_eq!(
            text,
            "t.toml:1:1: early\nt.toml:3:7: twice (first defined at 2:1; keep one)"
        );
    }

    #[test]
    fn snippets_have_both_labels_and_the_help() {
        let text = duplicate().render(GraphicalTheme::none());
        for part in [
            "twice",
            "t.toml:3:",
            "ä = 2",
            "first defined here",
            "help: keep one",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_pointed_at() {
        let error = String::from_utf8(b"a = 1\nb = \"\xff\"".to_vec()).unwrap_err();
        assert_eq!(
            Problems::not_utf8("t", &error).to_string(),
            "t:2:6: not UTF-8 from here on (TOML files are UTF-8: save it in that encoding)"
        );
    }
}
