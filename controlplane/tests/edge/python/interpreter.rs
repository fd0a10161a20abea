//! Which Python runs the examples.

use std::{process::Command, sync::OnceLock};

/// Debian's own sees Debian's packages, whatever comes first in PATH.
const PYTHONS: [&str; 2] = ["python3", "/usr/bin/python3"];

/// One that has gRPC; where there is none, the test fails and says what installs it.
pub(crate) fn interpreter() -> &'static str {
    static PYTHON: OnceLock<&str> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let mut with_grpc = PYTHONS.into_iter().filter(|python| {
            let mut import = Command::new(python);
            import.args(["-c", "import grpc, google.protobuf"]);
            import.output().is_ok_and(|it| it.status.success())
        });
        let found = with_grpc.next();
        found.expect("a python3 with grpcio: run `scripts/setup test`, which installs it")
    })
}
