//! `doctor`: needs no daemon.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use super::write_json;
use crate::{
    doctor::{self, Host},
    error::{EXIT_REFUSED, Error},
};

pub(super) fn doctor(
    file: Option<&PathBuf>,
    socket: &Path,
    json: bool,
    out: &mut dyn Write,
) -> Result<ExitCode, Error> {
    let findings = doctor::examine(&Host::this(), file.map(PathBuf::as_path), socket);
    if json {
        write_json(out, &findings)?;
        out.write_all(b"\n").map_err(Error::Output)?;
    } else {
        let text = doctor::text(&findings);
        out.write_all(text.as_bytes()).map_err(Error::Output)?;
    }
    Ok(if doctor::has_problem(&findings) {
        EXIT_REFUSED.into()
    } else {
        ExitCode::SUCCESS
    })
}
