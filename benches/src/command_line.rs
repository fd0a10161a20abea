//! A command line in the manner of testpmd: EAL's words, `--`, the program's own.

/// The words before `--` without the program's name, and the program's name with those after it.
#[must_use]
pub fn split(all: &[String]) -> (&[String], Vec<String>) {
    let at = all.iter().position(|word| word == "--");
    let (eal, own) = match at {
        Some(at) => (&all[1..at], &all[at + 1..]),
        None => (&all[..0], &all[1..]),
    };
    let name = all.first().cloned().unwrap_or_default();
    let own = std::iter::once(name).chain(own.iter().cloned()).collect();
    (eal, own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eal_words_come_before_the_dashes() {
        let words: Vec<String> = ["bench", "-l", "0", "--", "--json"]
            .map(String::from)
            .to_vec();
        let (eal, own) = split(&words);
        assert_eq!(
            (eal, own.as_slice()),
            (&words[1..3], &["bench".to_owned(), "--json".to_owned()][..])
        );
    }
}
