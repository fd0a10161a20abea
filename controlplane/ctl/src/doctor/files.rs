//! The socket, what the daemon writes, and how many files it may open.

use std::{
    fs,
    os::unix::{
        fs::{FileTypeExt as _, MetadataExt as _},
        net::UnixStream,
    },
    path::Path,
};

use rustix::fs::{Access, access, statvfs};

use super::{Finding, Host, Plan, memory::limit};

/// Connections of servers, operators, scrapers and probes.
const FILES: u64 = 8192;
/// A journal of a million affinities, several times.
const ROOM_BYTES: u64 = 1 << 30;

pub(super) fn descriptors(host: &Host) -> Finding {
    const CHECK: &str = "files";
    match limit(host, "Max open files") {
        Some(most) if most < FILES => Finding::advice(
            CHECK,
            format!("{most} may be open at once; each server's connection is one, of 4096 at most"),
            format!("ulimit -n {FILES}    # under systemd: LimitNOFILE={FILES}"),
        ),
        Some(u64::MAX) | None => Finding::ok(CHECK, "any number may be open"),
        Some(most) => Finding::ok(CHECK, format!("{most} may be open at once")),
    }
}

pub(super) fn socket(host: &Host, plan: &Plan) -> Finding {
    const CHECK: &str = "socket";
    let (path, name) = (host.at(&plan.socket), plan.socket.display());
    let Ok(metadata) = fs::symlink_metadata(&path) else {
        return Finding::ok(
            CHECK,
            format!("no {name}: no tetherd runs by this configuration"),
        );
    };
    if !metadata.file_type().is_socket() {
        let what = format!("{name} is no socket, and tetherd will not replace it");
        return Finding::problem(CHECK, what, format!("rm {name}    # if nobody needs it"));
    }
    let mode = metadata.mode() & 0o777;
    if mode & 0o007 != 0 {
        let what = format!("{name} has mode {mode:o}: every user is an operator");
        return Finding::problem(CHECK, what, format!("chmod 660 {name}"));
    }
    match UnixStream::connect(&path) {
        Ok(_) => Finding::ok(CHECK, format!("tetherd listens at {name}, mode {mode:o}")),
        Err(error) => {
            let what = format!("nobody can be reached at {name}: {error}");
            let fix = "start tetherd, which replaces a socket that is left over; or join its group";
            Finding::advice(CHECK, what, fix)
        }
    }
}

/// Where the daemon writes.
pub(super) fn directories(host: &Host, plan: &Plan) -> Vec<Finding> {
    let audit = plan.audit.as_deref().and_then(Path::parent);
    let state = plan.state.as_deref().map(|it| directory(host, "state", it));
    let audit = audit.map(|it| directory(host, "audit", it));
    let mut findings: Vec<_> = state.into_iter().chain(audit).collect();
    if plan.is_known && plan.state.is_none() {
        let what = "affinities live in memory only and end with tetherd";
        let fix = "[control] state = \"/var/lib/tether\"";
        findings.push(Finding::advice("state", what, fix));
    }
    findings
}

fn directory(host: &Host, check: &'static str, path: &Path) -> Finding {
    let name = path.display();
    // The daemon makes what is missing below what is there.
    let Some(there) = path.ancestors().find(|it| host.has(it)) else {
        return Finding::problem(
            check,
            format!("{name} cannot be made"),
            format!("mkdir -p {name}"),
        );
    };
    let (at, there) = (host.at(there), there.display());
    if !at.is_dir() {
        let what = format!("{there} is no directory");
        return Finding::problem(check, what, "move it away, or name another path");
    }
    if access(&at, Access::WRITE_OK | Access::EXEC_OK).is_err() {
        let what = format!("{there} cannot be written by this user");
        let fix =
            format!("chown USER {there}    # the user of tetherd, or run doctor as that user");
        return Finding::problem(check, what, fix);
    }
    let free = statvfs(&at).map(|it| it.f_bavail.saturating_mul(it.f_frsize));
    match free {
        Ok(free) if free < ROOM_BYTES => {
            let what = format!("{} MB are free for {name}", free >> 20);
            let fix = "make room: when the disk is full, signals are refused";
            Finding::advice(check, what, fix)
        }
        Ok(free) => Finding::ok(
            check,
            format!("{name} is writable, {} MB are free", free >> 20),
        ),
        Err(_) => Finding::ok(check, format!("{name} is writable")),
    }
}
