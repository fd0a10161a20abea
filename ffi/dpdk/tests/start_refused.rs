//! EAL does not start, and the error says what to install.

use dpdk::{Eal, Error};

#[test]
fn a_driver_that_is_not_installed_is_named_with_its_package() {
    let args = [
        "--no-huge",
        "-m",
        "64",
        "--no-pci",
        "--no-shconf",
        "--no-telemetry",
        "--file-prefix=tether-test",
        "--vdev=net_nonsense0",
    ];
    let error = Eal::init(&args).unwrap_err();
    assert!(
        matches!(
            &error,
            Error::Call {
                call: "rte_eal_init",
                ..
            }
        ),
        "{error}"
    );
    let text = error.to_string();
    assert!(text.contains("--vdev=net_nonsense0"), "{text}");
    assert!(
        text.contains("apt-get install librte-net-nonsense"),
        "{text}"
    );
    assert_eq!(Eal::init(&args).unwrap_err(), Error::AlreadyInitialised);
}
