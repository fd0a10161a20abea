//! One table of the file, read key by key. What is asked for is what is known: the keys left over
//! when a table has been read are the unknown ones. A reader never stops at a problem.
//!
//! Invariant of the readers: a `None` for a key that was there, or had to be, has been reported.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Place, Problem};
use super::value::{Misfit, closest};

/// One table of the file.
pub(super) struct Table<'t> {
    /// As the file writes it, `[service.affinity]`; empty for the root.
    title: String,
    place: Place,
    entries: &'t DeTable<'t>,
    asked: Vec<&'static str>,
    problems: &'t mut Vec<Problem>,
}

impl<'t> Table<'t> {
    /// Reads the whole file's table with `read`.
    pub(super) fn root<T>(
        entries: &DeTable<'_>,
        problems: &mut Vec<Problem>,
        read: impl FnOnce(&mut Table<'_>) -> T,
    ) -> T {
        Table::read(String::new(), 0..0, entries, problems, read)
    }

    fn read<T>(
        title: String,
        place: Place,
        entries: &DeTable<'_>,
        problems: &mut Vec<Problem>,
        read: impl FnOnce(&mut Table<'_>) -> T,
    ) -> T {
        let mut table = Table {
            title,
            place,
            entries,
            asked: Vec::new(),
            problems,
        };
        let read = read(&mut table);
        table.report_unknown();
        read
    }

    /// Where this table begins.
    pub(super) fn place(&self) -> Place {
        self.place.clone()
    }

    /// Whether `key` is there, right or wrong.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Reports `key` where it is there and the one that it goes with is not.
    pub(super) fn goes_with(&mut self, key: &'static str, other: &'static str) {
        if let Some((key, _)) = self.entries.get_key_value(key)
            && !self.has(other)
        {
            let message = format!("{:?} is of no use without \"{other}\"", key.get_ref());
            let help = format!("add \"{other}\" to {}, or leave this out", self.title);
            self.problems
                .push(Problem::new(key.span(), message).help(help));
        }
    }

    /// A key that may be absent.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        kind: impl Kind<T>,
    ) -> Option<Spanned<T>> {
        let value = self.get(key)?;
        self.fit(&format!("\"{key}\""), value, kind)
    }

    /// A key that must be there.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        kind: impl Kind<T>,
    ) -> Option<Spanned<T>> {
        self.must_have(key);
        self.optional(key, kind)
    }

    /// A key with a default. `None`: it is there and wrong.
    pub(super) fn or<T>(
        &mut self,
        key: &'static str,
        kind: impl Kind<T>,
        default: T,
    ) -> Option<Spanned<T>> {
        match self.get(key) {
            Some(_) => self.optional(key, kind),
            None => Some(Spanned::new(self.place(), default)),
        }
    }

    /// An array, empty where it is absent; every element that does not fit is reported.
    pub(super) fn list<T>(
        &mut self,
        key: &'static str,
        kind: impl Kind<T>,
    ) -> Option<Vec<Spanned<T>>> {
        let Some(value) = self.get(key) else {
            return Some(Vec::new());
        };
        let Some(array) = value.get_ref().as_array() else {
            let misfit = Misfit::kind("an array", value.get_ref());
            self.misfit(&format!("\"{key}\""), value, misfit);
            return None;
        };
        let subject = format!("an element of \"{key}\"");
        let fit = |element| self.fit(&subject, element, &kind);
        let elements: Vec<_> = array.iter().map(fit).collect();
        elements.into_iter().collect()
    }

    /// An array that must be there and have an element.
    pub(super) fn filled_list<T>(
        &mut self,
        key: &'static str,
        kind: impl Kind<T>,
    ) -> Option<Vec<Spanned<T>>> {
        self.must_have(key);
        self.must_not_be_empty(key);
        self.list(key, kind).filter(|elements| !elements.is_empty())
    }

    /// An array, or one value in its place.
    pub(super) fn one_or_more<T>(
        &mut self,
        key: &'static str,
        kind: impl Kind<T>,
    ) -> Option<Vec<Spanned<T>>> {
        match self.get(key).map(Spanned::get_ref) {
            None | Some(DeValue::Array(_)) => self.list(key, kind),
            Some(_) => Some(vec![self.optional(key, kind)?]),
        }
    }

    /// A table that may be absent.
    pub(super) fn optional_table<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Table<'_>) -> T,
    ) -> Option<T> {
        let value = self.get(key)?;
        self.child(key, value, read)
    }

    /// A table that is empty where it is absent. `None`: it is there and not a table.
    pub(super) fn table<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Table<'_>) -> T,
    ) -> Option<T> {
        if let Some(value) = self.get(key) {
            return self.child(key, value, read);
        }
        let title = format!("[{}]", self.path(key));
        let place = self.place();
        Some(Table::read(
            title,
            place,
            &DeTable::new(),
            self.problems,
            read,
        ))
    }

    /// An array of tables.
    pub(super) fn tables<T>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&mut Table<'_>) -> T,
    ) -> Vec<T> {
        let title = format!("[[{}]]", self.path(key));
        let Some(value) = self.get(key) else {
            return Vec::new();
        };
        let Some(array) = value.get_ref().as_array() else {
            let misfit = Misfit::kind("an array of tables", value.get_ref());
            let misfit = misfit.help(format!("write {title}"));
            self.misfit(&format!("\"{key}\""), value, misfit);
            return Vec::new();
        };
        let mut read_element = |element: &Spanned<DeValue<'_>>| {
            let Some(entries) = element.get_ref().as_table() else {
                let misfit = Misfit::kind("a table", element.get_ref());
                self.misfit(&format!("an element of \"{key}\""), element, misfit);
                return None;
            };
            Some(Table::read(
                title.clone(),
                element.span(),
                entries,
                self.problems,
                &mut read,
            ))
        };
        array.iter().filter_map(&mut read_element).collect()
    }

    /// An array of tables that must be there and have an element.
    pub(super) fn filled_tables<T>(
        &mut self,
        key: &'static str,
        read: impl FnMut(&mut Table<'_>) -> T,
    ) -> Vec<T> {
        self.must_have(key);
        self.must_not_be_empty(key);
        self.tables(key, read)
    }

    fn child<T>(
        &mut self,
        key: &'static str,
        value: &Spanned<DeValue<'_>>,
        read: impl FnOnce(&mut Table<'_>) -> T,
    ) -> Option<T> {
        let title = format!("[{}]", self.path(key));
        let Some(entries) = value.get_ref().as_table() else {
            let misfit = Misfit::kind("a table", value.get_ref());
            let misfit = misfit.help(format!("write {title}"));
            self.misfit(&format!("\"{key}\""), value, misfit);
            return None;
        };
        Some(Table::read(
            title,
            value.span(),
            entries,
            self.problems,
            read,
        ))
    }

    fn path(&self, key: &str) -> String {
        match self.title.trim_matches(['[', ']']) {
            "" => key.to_owned(),
            parent => format!("{parent}.{key}"),
        }
    }

    fn get(&mut self, key: &'static str) -> Option<&'t Spanned<DeValue<'t>>> {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
        self.entries.get(key)
    }

    fn must_have(&mut self, key: &'static str) {
        if !self.has(key) {
            let title = if self.title.is_empty() {
                "the file"
            } else {
                &self.title
            };
            let message = format!("{title} has no \"{key}\"");
            self.problems.push(Problem::new(self.place(), message));
        }
    }

    /// Reports an array that is there without an element.
    pub(super) fn must_not_be_empty(&mut self, key: &'static str) {
        if let Some(value) = self.entries.get(key)
            && value
                .get_ref()
                .as_array()
                .is_some_and(|array| array.is_empty())
        {
            let misfit = Misfit::new("must not be empty");
            self.misfit(&format!("\"{key}\""), value, misfit);
        }
    }

    fn fit<T>(
        &mut self,
        subject: &str,
        value: &Spanned<DeValue<'_>>,
        kind: impl Kind<T>,
    ) -> Option<Spanned<T>> {
        match kind(value.get_ref()) {
            Ok(fitting) => Some(Spanned::new(value.span(), fitting)),
            Err(misfit) => {
                self.misfit(subject, value, misfit);
                None
            }
        }
    }

    fn misfit(&mut self, subject: &str, value: &Spanned<DeValue<'_>>, misfit: Misfit) {
        self.problems
            .push(misfit.into_problem(subject, value.span()));
    }

    fn report_unknown(self) {
        for key in self.entries.keys() {
            let name: &str = key.get_ref();
            if self.asked.contains(&name) {
                continue;
            }
            let place = if self.title.is_empty() { "" } else { " in " };
            let message = format!("unknown key {name:?}{place}{}", self.title);
            let help = match closest(name, self.asked.iter().copied()) {
                Some(known) => format!("did you mean \"{known}\"?"),
                None => format!("known here: {}", self.asked.join(", ")),
            };
            self.problems
                .push(Problem::new(key.span(), message).help(help));
        }
    }
}

/// What a value must be: reads it, or says how it does not fit.
pub(super) trait Kind<T>: Fn(&DeValue<'_>) -> Result<T, Misfit> {}

impl<T, F: Fn(&DeValue<'_>) -> Result<T, Misfit>> Kind<T> for F {}
