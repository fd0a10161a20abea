//! The file of the operator socket: made so that it never has wider permissions than it shall have,
//! in the place of one that a dead daemon left behind, never of one that is in use.

use crate::server::error::StartError;
use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::{
        fs::{FileTypeExt as _, PermissionsExt as _},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

/// Owner and group may connect.
const MODE: u32 = 0o660;

/// A bound socket; its file goes when this does.
#[derive(Debug)]
pub(crate) struct Socket {
    listener: UnixListener,
    _file: File,
}

/// The file, to be removed.
#[derive(Debug)]
struct File(PathBuf);

impl Drop for File {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            log::debug!("{}: {error}", self.0.display());
        }
    }
}

impl Socket {
    /// Binds the path; makes its directory where there is none.
    ///
    /// # Errors
    /// A daemon listens there, something else is there, or the file system refuses.
    pub(crate) fn bind(path: &Path) -> Result<Self, StartError> {
        bind(path).map_err(|reason| StartError::Operator {
            path: path.to_owned(),
            reason,
        })
    }

    /// The socket as the runtime polls it. To be called within the runtime.
    pub(crate) fn listen(&self) -> io::Result<tokio::net::UnixListener> {
        let listener = self.listener.try_clone()?;
        listener.set_nonblocking(true)?;
        tokio::net::UnixListener::from_std(listener)
    }
}

fn bind(path: &Path) -> Result<Socket, String> {
    let refused = |error: io::Error| match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            format!("{error}; run as a user that may write there, or choose another path")
        }
        _ => format!("{error}; choose a path on a local file system"),
    };
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(refused)?;
    }
    check_free(path)?;
    // Under its name there is never a socket with another mode.
    let draft = draft(path);
    remove_stale(&draft).map_err(refused)?;
    let listener = UnixListener::bind(&draft).map_err(refused)?;
    let mut file = File(draft.clone());
    fs::set_permissions(&draft, fs::Permissions::from_mode(MODE)).map_err(refused)?;
    fs::rename(&draft, path).map_err(refused)?;
    path.clone_into(&mut file.0);
    Ok(Socket {
        listener,
        _file: file,
    })
}

/// A name beside `path` that fits `sun_path` where `path` does (unix(7)): no longer than it.
fn draft(path: &Path) -> PathBuf {
    let short = format!(".{}", std::process::id() % 1_000_000);
    let name = path.file_name().map_or(0, std::ffi::OsStr::len);
    let end = short.len().min(name.max(2));
    path.with_file_name(&short[..end])
}

fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether the path may be taken: nothing is there, or a socket that nobody listens on.
fn check_free(path: &Path) -> Result<(), String> {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !metadata.file_type().is_socket() {
        return Err("there is a file that is no socket: remove it, or choose another path".into());
    }
    match UnixStream::connect(path) {
        Ok(_) => {
            Err("another daemon listens there: stop it, or give this one another path".to_owned())
        }
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => Err(format!(
            "there is a socket that does not say whether it is in use ({error}): remove it if it is not"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(path: &Path) -> String {
        Socket::bind(path).unwrap_err().to_string()
    }

    #[test]
    fn the_directory_is_made_and_the_file_is_for_owner_and_group() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/tether/operator.sock");
        let socket = Socket::bind(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, MODE);
        let files = fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(files, 1, "no draft is left");
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_stale_file_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("operator.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let _socket = Socket::bind(&path).unwrap();
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn a_live_daemon_keeps_its_socket() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("operator.sock");
        let _live = Socket::bind(&path).unwrap();
        let reason = reason(&path);
        assert!(reason.contains("another daemon listens there"), "{reason}");
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("operator.sock");
        fs::write(&path, "mine").unwrap();
        let reason = reason(&path);
        assert!(reason.contains("no socket"), "{reason}");
        assert_eq!(fs::read(&path).unwrap(), b"mine");
    }

    #[test]
    fn the_draft_of_a_path_is_no_longer_than_it() {
        for name in ["ab", "o.sock", "operator.sock"] {
            let path = Path::new("/run/tether").join(name);
            let draft = draft(&path);
            assert!(
                draft.as_os_str().len() <= path.as_os_str().len(),
                "{draft:?}"
            );
            assert_ne!(draft, path);
        }
    }
}
