//! One file that needs no other: the bars in a table, the plots as SVG in it.

use crate::{bar::Bar, plots, results::Results};
use std::{error::Error, fmt::Write as _};

const STYLE: &str = "body{font:16px/1.5 sans-serif;color:#282c34;max-width:1000px;margin:2em auto;padding:0 1em}\
table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;padding:.35em .6em;\
border-bottom:1px solid #ddd}.met{color:#00734f;font-weight:bold}.not-met{color:#b33c00;font-weight:bold}\
.not-measured{color:#777}svg{max-width:100%;height:auto;margin:1.2em 0}h1{margin-bottom:.2em}";

/// The page.
pub(crate) fn page(results: &Results, bars: &[Bar]) -> Result<String, Box<dyn Error>> {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>Tether: measurements</title>\
         <style>{STYLE}</style></head>\n<body>\n<h1>Tether: measurements</h1>\n<p>{}</p>\n<table>\n\
         <tr><th></th><th>what</th><th>measured</th><th>bar</th><th></th></tr>\n",
        escaped(&about(results))
    );
    for bar in bars {
        let verdict = bar.verdict();
        writeln!(
            page,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td class=\"{}\">{verdict}</td></tr>",
            bar.name,
            escaped(bar.what),
            escaped(&bar.measured),
            escaped(bar.limit),
            verdict.replace(' ', "-"),
        )?;
    }
    page += "</table>\n";
    for plot in plots::all(results)? {
        writeln!(page, "<figure>{plot}</figure>")?;
    }
    page += "</body>\n</html>\n";
    Ok(page)
}

/// One sentence about the machine and the run.
pub(crate) fn about(results: &Results) -> String {
    let quick = if results.machine()["quick"] == true {
        " A quick run: too short to be relied on."
    } else {
        ""
    };
    format!(
        "{}, {} cores, {}, Linux {}; commit {}, {}.{quick}",
        results.about("cpu"),
        results.about("cores"),
        results.about("dpdk"),
        results.about("kernel"),
        results.about("commit"),
        results.about("date"),
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_without_measurements_says_so() {
        let results = Results::parse("").unwrap();
        let page = page(&results, &crate::bars::all(&results)).unwrap();
        assert!(page.contains("not measured") && !page.contains("<svg"));
        assert_eq!(page.matches("<tr>").count(), 14);
    }
}
