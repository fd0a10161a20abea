//! nginx on a server's host, behind PROXY headers: says who its client is, takes files and gives them back.

use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Stdio},
};

use tempfile::TempDir;

use super::{
    namespace::Namespace,
    wait::{SOON, wait_until},
};

/// The Debian package's.
const PROGRAM: &str = "/usr/sbin/nginx";

/// An nginx that runs; killed when dropped.
#[derive(Debug)]
pub struct Nginx {
    process: Child,
    directory: TempDir,
}

impl Nginx {
    /// Listens on this port, for both families.
    pub fn start(host: &Namespace, port: u16) -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().display();
        let files = directory.path().join("files");
        fs::create_dir(&files).unwrap();
        let configuration = format!(
            r#"
daemon off;
master_process off;
pid {path}/pid;
error_log {path}/errors info;
events {{}}
http {{
    log_format client '$proxy_protocol_addr $proxy_protocol_port $request_method $status';
    access_log {path}/requests client;
    client_body_temp_path {path}/body;
    proxy_temp_path {path}/proxy;
    fastcgi_temp_path {path}/fastcgi;
    uwsgi_temp_path {path}/uwsgi;
    scgi_temp_path {path}/scgi;
    client_max_body_size 0;
    server {{
        listen [::]:{port} ipv6only=off proxy_protocol;
        location = /who {{
            return 200 "$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_addr $proxy_protocol_server_port";
        }}
        location /files/ {{
            root {path};
            dav_methods PUT;
        }}
    }}
}}
"#
        );
        let file = directory.path().join("nginx.conf");
        fs::write(&file, configuration).unwrap();
        let mut command = host.command(Path::new(PROGRAM));
        command.arg("-c").arg(&file).stderr(Stdio::null());
        let nginx = Self {
            process: command.spawn().unwrap(),
            directory,
        };
        wait_until("nginx to listen", SOON, || {
            host.inside(|| TcpStream::connect(("127.0.0.1", port)).is_ok())
        });
        nginx
    }

    /// Where a file is that was put.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join("files").join(name)
    }

    /// Client, port, method and status of every request.
    pub fn requests(&self) -> String {
        fs::read_to_string(self.directory.path().join("requests")).unwrap()
    }

    /// What it complains of.
    pub fn errors(&self) -> String {
        fs::read_to_string(self.directory.path().join("errors")).unwrap()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Either may fail: it may have ended.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
