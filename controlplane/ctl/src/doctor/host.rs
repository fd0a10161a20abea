//! The host as it can be looked at: files below a root, and what programs say.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

/// What a program writes; `None`: it is not there, or failed.
type Run = Box<dyn Fn(&str, &[&str]) -> Option<String>>;

/// A host.
pub(crate) struct Host {
    root: PathBuf,
    run: Run,
    /// Whether who asks may do everything.
    pub(crate) is_root: bool,
}

impl Host {
    /// This one.
    pub(crate) fn this() -> Self {
        let run = |program: &str, arguments: &[&str]| {
            let output = Command::new(program).args(arguments).output().ok()?;
            let text = output.status.success().then_some(output.stdout)?;
            String::from_utf8(text).ok()
        };
        Self {
            root: PathBuf::from("/"),
            run: Box::new(run),
            is_root: rustix::process::geteuid().is_root(),
        }
    }

    /// One whose files are in a directory.
    #[cfg(test)]
    pub(crate) fn in_directory(
        root: &Path,
        run: impl Fn(&str, &[&str]) -> Option<String> + 'static,
    ) -> Self {
        Self {
            root: root.to_owned(),
            run: Box::new(run),
            is_root: true,
        }
    }

    /// Where a path of the host is.
    pub(crate) fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// A file's text, without white space around it.
    pub(crate) fn read(&self, path: impl AsRef<Path>) -> Option<String> {
        let text = fs::read_to_string(self.at(path)).ok()?;
        Some(text.trim().to_owned())
    }

    /// The same, or why not.
    pub(crate) fn try_read(&self, path: &Path) -> io::Result<String> {
        fs::read_to_string(self.at(path))
    }

    /// The names in a directory; none where there is none.
    pub(crate) fn list(&self, directory: impl AsRef<Path>) -> Vec<String> {
        let entries = fs::read_dir(self.at(directory));
        let names = entries.into_iter().flatten().flatten();
        let names = names.map(|it| it.file_name().to_string_lossy().into_owned());
        let mut names: Vec<_> = names.collect();
        names.sort_unstable();
        names
    }

    /// Whether something is there.
    pub(crate) fn has(&self, path: impl AsRef<Path>) -> bool {
        self.at(path).exists()
    }

    /// The name that a symbolic link ends in.
    pub(crate) fn link(&self, path: impl AsRef<Path>) -> Option<String> {
        let target = fs::read_link(self.at(path)).ok()?;
        Some(target.file_name()?.to_string_lossy().into_owned())
    }

    /// What a program says.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> Option<String> {
        (self.run)(program, arguments)
    }
}

/// A list of numbers as the kernel writes it: `0-3,8`.
pub(super) fn numbers(text: &str) -> Vec<u32> {
    let ranges = text.split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
    });
    ranges.flatten().collect()
}

/// Numbers as people read them: `1, 2 and 3`.
pub(super) fn listed(numbers: &[u32]) -> String {
    let words: Vec<_> = numbers.iter().map(u32::to_string).collect();
    match &words[..] {
        [] => "none".to_owned(),
        [one] => one.clone(),
        [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
    }
}
